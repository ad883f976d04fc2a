"""What every service needs: one module, one promise."""
