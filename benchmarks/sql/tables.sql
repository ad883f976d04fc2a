DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
SET search_path = floor;
CREATE TABLE stock (id int PRIMARY KEY, on_hand numeric NOT NULL, reserved numeric NOT NULL,
                    CHECK (reserved <= on_hand)) WITH (fillfactor = 50);
CREATE TABLE numbers (series text PRIMARY KEY, last bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE totals (account int PRIMARY KEY, debit bigint NOT NULL, credit bigint NOT NULL)
                    WITH (fillfactor = 50);
CREATE TABLE orders (id bigserial PRIMARY KEY, number bigint NOT NULL, net bigint, tax bigint);
CREATE TABLE order_lines (order_id bigint REFERENCES orders, place int, product int REFERENCES stock,
                          quantity numeric, PRIMARY KEY (order_id, place));
CREATE TABLE reservations (id bigserial PRIMARY KEY, order_id bigint UNIQUE REFERENCES orders);
CREATE TABLE reservation_lines (reservation_id bigint REFERENCES reservations, place int,
                                product int, quantity numeric, PRIMARY KEY (reservation_id, place));
CREATE TABLE invoices (id bigserial PRIMARY KEY, number bigint NOT NULL,
                       order_id bigint UNIQUE REFERENCES orders, due bigint);
CREATE TABLE entries (id bigserial PRIMARY KEY, invoice_id bigint UNIQUE REFERENCES invoices);
CREATE TABLE entry_lines (entry_id bigint REFERENCES entries, account int, debit bigint, credit bigint);
CREATE TABLE heads (tenant int PRIMARY KEY, sequence bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE events (tenant int, sequence bigint, type text, subject bigint, occurred_at timestamptz,
                     data bytea, PRIMARY KEY (tenant, sequence));
INSERT INTO heads VALUES (1, 0);
INSERT INTO stock SELECT n, 1000000000, 0 FROM generate_series(1, 100) n;
INSERT INTO numbers VALUES ('order', 0), ('invoice', 0);
INSERT INTO totals SELECT n, 0, 0 FROM generate_series(1, 3) n;
