BEGIN;
SELECT on_hand, reserved FROM floor.stock WHERE id = 1 FOR UPDATE;
UPDATE floor.stock SET reserved = reserved + 1 WHERE id = 1;
INSERT INTO floor.reservations (order_id) VALUES (NULL);
COMMIT;
