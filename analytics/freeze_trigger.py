"""Trigger SQL: a frozen comparison stays as it was made.

As with the audit trail, only sessions with `fourbeat.may_truncate = on` empty the table at once.
"""

REFUSE_CHANGES = """
CREATE FUNCTION frozen_comparisons_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a frozen comparison is never changed or removed: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER frozen_comparisons_stay BEFORE UPDATE OR DELETE ON analytics_comparison
    FOR EACH ROW EXECUTE FUNCTION frozen_comparisons_stay();
CREATE FUNCTION frozen_comparisons_are_never_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('fourbeat.may_truncate', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'a frozen comparison is never changed or removed: % refused', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER frozen_comparisons_are_never_emptied BEFORE TRUNCATE ON analytics_comparison
    FOR EACH STATEMENT EXECUTE FUNCTION frozen_comparisons_are_never_emptied();
"""
ALLOW_CHANGES = """
DROP TRIGGER frozen_comparisons_are_never_emptied ON analytics_comparison;
DROP FUNCTION frozen_comparisons_are_never_emptied();
DROP TRIGGER frozen_comparisons_stay ON analytics_comparison;
DROP FUNCTION frozen_comparisons_stay();
"""
