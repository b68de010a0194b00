"""Trigger SQL: the audit trail takes new rows and nothing else."""

REFUSE_CHANGES = """
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON ema_auditevent
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
"""
ALLOW_CHANGES = """
DROP TRIGGER audit_is_append_only ON ema_auditevent;
DROP FUNCTION audit_is_append_only();
"""
