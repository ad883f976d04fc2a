\set a random(1, 98)
BEGIN;
SELECT id, on_hand, reserved FROM floor.stock WHERE id IN (:a, :a + 1, :a + 2) ORDER BY id FOR UPDATE;
UPDATE floor.stock SET reserved = reserved + 1 WHERE id IN (:a, :a + 1, :a + 2);
UPDATE floor.numbers SET last = last + 1 WHERE series = 'order' RETURNING last AS number \gset
INSERT INTO floor.orders (number, net, tax) VALUES (:number, 36000, 6840) RETURNING id AS order \gset
INSERT INTO floor.order_lines VALUES (:order, 1, :a, 1), (:order, 2, :a + 1, 1), (:order, 3, :a + 2, 1);
INSERT INTO floor.reservations (order_id) VALUES (:order) RETURNING id AS held \gset
INSERT INTO floor.reservation_lines VALUES (:held, 1, :a, 1), (:held, 2, :a + 1, 1), (:held, 3, :a + 2, 1);
UPDATE floor.numbers SET last = last + 1 WHERE series = 'invoice' RETURNING last AS invoiced \gset
INSERT INTO floor.invoices (number, order_id, due) VALUES (:invoiced, :order, 42840) RETURNING id AS invoice \gset
INSERT INTO floor.entries (invoice_id) VALUES (:invoice) RETURNING id AS entry \gset
INSERT INTO floor.entry_lines VALUES (:entry, 1, 42840, 0), (:entry, 2, 0, 36000), (:entry, 3, 0, 6840);
UPDATE floor.totals SET debit = debit + 42840 WHERE account = 1;
UPDATE floor.totals SET credit = credit + 36000 WHERE account = 2;
UPDATE floor.totals SET credit = credit + 6840 WHERE account = 3;
COMMIT;
