CREATE TABLE notes (
    tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
    sequence bigint NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);
