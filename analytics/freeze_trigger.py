"""Trigger SQL: a frozen comparison and a locked plan stay as they were made.

As with the audit trail, only sessions with `fourbeat.may_truncate = on` empty a table at once.
"""


def refuse(*, table: str, stays: str, never_emptied: str, what: str, when: str = "TRUE") -> str:
    """SQL after which rows of the table for which `when` holds are never changed or removed."""
    return f"""
CREATE FUNCTION {stays}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT ({when}) THEN
        RETURN COALESCE(NEW, OLD);
    END IF;
    RAISE EXCEPTION '{what} is never changed or removed: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER {stays} BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {stays}();
CREATE FUNCTION {never_emptied}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('fourbeat.may_truncate', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION '{what} is never changed or removed: % refused', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER {never_emptied} BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {never_emptied}();
"""


def allow(*, table: str, stays: str, never_emptied: str) -> str:
    """SQL that takes the refusals away."""
    return f"""
DROP TRIGGER {never_emptied} ON {table};
DROP FUNCTION {never_emptied}();
DROP TRIGGER {stays} ON {table};
DROP FUNCTION {stays}();
"""


COMPARISONS = {
    "table": "analytics_comparison",
    "stays": "frozen_comparisons_stay",
    "never_emptied": "frozen_comparisons_are_never_emptied",
}
PLANS = {
    "table": "analytics_analysisplan",
    "stays": "a_locked_plan_never_changes",
    "never_emptied": "plans_are_never_emptied",
}
REFUSE_CHANGES = refuse(**COMPARISONS, what="a frozen comparison")
ALLOW_CHANGES = allow(**COMPARISONS)
REFUSE_CHANGES_OF_PLANS = refuse(**PLANS, what="a locked plan", when="OLD.locked_at IS NOT NULL")
ALLOW_CHANGES_OF_PLANS = allow(**PLANS)
