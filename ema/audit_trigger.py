"""Trigger SQL: the audit trail takes new rows and nothing else.

Emptying a whole table at once is for benches: their sessions set `fourbeat.may_truncate = on`.
Nothing else does.
"""

REFUSE_CHANGES = """
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON ema_auditevent
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE FUNCTION audit_is_never_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('fourbeat.may_truncate', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'the audit trail is append-only: % refused', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON ema_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_never_emptied();
"""
ALLOW_CHANGES = """
DROP TRIGGER audit_is_never_emptied ON ema_auditevent;
DROP FUNCTION audit_is_never_emptied();
DROP TRIGGER audit_is_append_only ON ema_auditevent;
DROP FUNCTION audit_is_append_only();
"""


def only_grows(table: str) -> str:
    """SQL by which another table takes new rows and nothing else."""
    return f"""
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_never_emptied();
"""


def may_change(table: str) -> str:
    return f"""
DROP TRIGGER audit_is_never_emptied ON {table};
DROP TRIGGER audit_is_append_only ON {table};
"""


SETTLED_KEY = 40_420
"""An advisory lock: shared by whoever writes to the trail, until that is committed."""

SHARE_THE_TRAIL = f"""
CREATE FUNCTION audit_is_being_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared({SETTLED_KEY});
    RETURN NULL;
END $$;
CREATE TRIGGER audit_is_being_written BEFORE INSERT ON ema_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_being_written();
CREATE TRIGGER audit_is_being_written BEFORE INSERT ON ema_rowchange
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_being_written();
"""
SHARE_NO_MORE = """
DROP TRIGGER audit_is_being_written ON ema_rowchange;
DROP TRIGGER audit_is_being_written ON ema_auditevent;
DROP FUNCTION audit_is_being_written();
"""
