"""Trigger SQL: a frozen comparison stays as it was made."""

REFUSE_CHANGES = """
CREATE FUNCTION frozen_comparisons_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a frozen comparison is never changed or removed: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER frozen_comparisons_stay BEFORE UPDATE OR DELETE ON analytics_comparison
    FOR EACH ROW EXECUTE FUNCTION frozen_comparisons_stay();
"""
ALLOW_CHANGES = """
DROP TRIGGER frozen_comparisons_stay ON analytics_comparison;
DROP FUNCTION frozen_comparisons_stay();
"""
