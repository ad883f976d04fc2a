CREATE TABLE effects (
    tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
    job_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, job_id)
);
