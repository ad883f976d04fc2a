BEGIN;
SELECT on_hand, reserved FROM floor.stock WHERE id = 1 FOR UPDATE;
UPDATE floor.stock SET reserved = reserved + 1 WHERE id = 1;
INSERT INTO floor.reservations (order_id) VALUES (NULL) RETURNING id AS held \gset
INSERT INTO floor.reservation_lines VALUES (:held, 1, 1, 1);
UPDATE floor.heads SET sequence = sequence + 1 WHERE tenant = 1 RETURNING sequence \gset
INSERT INTO floor.events VALUES (1, :sequence, 'StockReserved', :held, now(), '\x00');
COMMIT;
