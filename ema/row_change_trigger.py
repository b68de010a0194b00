"""Trigger SQL: every change of a watched row is kept, whoever makes it and by whatever way.

The steps write events, which say what was meant (`ema/audit.py`). These triggers write the proof
beside them: UPDATE by hand, bulk inserts, COPY and cascades cannot pass by. A row says the columns
that changed, before and after; which transaction changed them, the same as its event's; who, as the
setting `fourbeat.actor` has it (`ema/acting.py`), and as which database user. The function runs as
the tables' owner: whoever may only add rows of the trial cannot write here but by changing them.
"""

from typing import NamedTuple

TRANSACTION = "pg_current_xact_id()::text || '@' || extract(epoch FROM transaction_timestamp())"
"""A transaction's name, also beyond a dump and restore: its number and when it began."""

KEEP_ROW_CHANGE = """
CREATE OR REPLACE FUNCTION keep_row_change() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    secret text[] := string_to_array(TG_ARGV[0], ',');
    left_out text[] := string_to_array(TG_ARGV[1], ',');
    old_row jsonb := to_jsonb(OLD) - left_out;
    new_row jsonb := to_jsonb(NEW) - left_out;
    whole jsonb := coalesce(new_row, old_row);
    study bigint := whole->>CASE TG_TABLE_NAME WHEN 'ema_study' THEN 'id' ELSE 'study_id' END;
    site bigint := whole->>'site_id';
    same text[];
BEGIN
    -- Only these, and for this call only: so plans are kept, and no name of another's is found.
    PERFORM set_config('search_path', TG_TABLE_SCHEMA || ', pg_temp', true);
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(key) INTO same FROM jsonb_each(new_row) WHERE value = old_row->key;
        old_row := old_row - coalesce(same, '{}');
        new_row := new_row - coalesce(same, '{}');
        IF new_row = '{}' THEN
            RETURN NULL;
        END IF;
    END IF;
    old_row := old_row || (SELECT coalesce(jsonb_object_agg(key, '(secret)'), '{}')
                           FROM unnest(secret) key WHERE old_row ? key);
    new_row := new_row || (SELECT coalesce(jsonb_object_agg(key, '(secret)'), '{}')
                           FROM unnest(secret) key WHERE new_row ? key);
    IF study IS NULL AND whole ? 'participant_id' THEN
        SELECT study_id, site_id INTO study, site FROM ema_participant
        WHERE id = (whole->>'participant_id')::bigint;
    ELSIF study IS NULL AND whole ? 'questionnaire_id' THEN
        SELECT study_id INTO study FROM ema_questionnaire
        WHERE id = (whole->>'questionnaire_id')::bigint;
    END IF;
    INSERT INTO ema_rowchange (at, transaction, table_name, row_id, operation, before, after,
        actor, database_user, study_id, site_id, is_closed)
    VALUES (transaction_timestamp(), <TRANSACTION>,
        TG_TABLE_NAME, whole->>'id', lower(TG_OP), old_row, new_row,
        coalesce(nullif(current_setting('fourbeat.actor', true), ''), 'database'), session_user,
        study, site, TG_ARGV[2] = 'closed');
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION keep_row_change() FROM PUBLIC;
""".replace("<TRANSACTION>", TRANSACTION)
KEEP_CHANGES = f"""{KEEP_ROW_CHANGE}
CREATE FUNCTION rows_are_changed_one_by_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('fourbeat.may_truncate', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION '% keeps a trace of every change: % refused', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'insufficient_privilege', HINT = 'Change or delete its rows.';
    END IF;
    RETURN NULL;
END $$;
"""
KEEP_NO_CHANGES = """
DROP FUNCTION rows_are_changed_one_by_one();
DROP FUNCTION keep_row_change();
"""


class Watched(NamedTuple):
    """A table whose changes are kept.

    Of `secret` columns only the change is told, of those `left_out` nothing. A `closed` table
    depends on arms. Added rows are kept `inserts_when` that holds, or never without `inserts`.
    """

    table: str
    secret: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    closed: bool = False
    inserts: bool = True
    inserts_when: str = "true"


FIRST_WATCHED = (  # by the migration that brings the function; later tables by their own
    Watched("ema_study", secret=("seed",)),
    Watched("ema_site"),
    Watched("ema_arm"),
    Watched("ema_phase"),
    Watched("ema_membership"),
    Watched("ema_questionnaire"),
    Watched("ema_questionnaireversion", left_out=("published_content",)),  # its sha256 stands
    Watched("ema_participant"),
    Watched("ema_allocation", secret=("arm_id",), closed=True),  # sealed, also to the closed role
    Watched("ema_allocationlist", secret=("nonce", "metadata"), closed=True),
    Watched("ema_eligibility"),
    Watched("ema_enrolmentcode", secret=("code_hash",)),
    Watched(
        "ema_device", left_out=("access_hash", "access_expires_at", "schedule_rev", "schedule_at")
    ),
    Watched("ema_pause"),
    Watched("ema_schedulechange"),
    Watched("ema_visit"),
    Watched("ema_phasestart"),
    Watched("ema_urinetest", inserts_when="NEW.result <> ''"),  # not that it is due
    Watched("ema_quarantine", left_out=("raw", "content_sha256"), inserts=False),
    Watched("auth_user", secret=("password", "email"), left_out=("last_login",)),
)


def watch(each: Watched) -> str:
    """SQL by which a migration has the changes of a table kept."""
    arguments = f"'{','.join(each.secret)}', '{','.join(each.left_out)}'"
    arguments += f", '{'closed' if each.closed else 'open'}'"
    keep = f"FOR EACH ROW EXECUTE FUNCTION keep_row_change({arguments})"
    added = f"""
CREATE TRIGGER what_is_added_is_kept AFTER INSERT ON {each.table}
    FOR EACH ROW WHEN ({each.inserts_when}) EXECUTE FUNCTION keep_row_change({arguments});"""
    return f"""{added if each.inserts else ""}
CREATE TRIGGER what_is_changed_is_kept AFTER UPDATE ON {each.table}
    FOR EACH ROW WHEN (OLD IS DISTINCT FROM NEW) EXECUTE FUNCTION keep_row_change({arguments});
CREATE TRIGGER what_is_deleted_is_kept AFTER DELETE ON {each.table} {keep};
CREATE TRIGGER rows_are_changed_one_by_one BEFORE TRUNCATE ON {each.table}
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_changed_one_by_one();
"""


def watch_no_more(each: Watched) -> str:
    names = ["what_is_changed_is_kept", "what_is_deleted_is_kept", "rows_are_changed_one_by_one"]
    names += ["what_is_added_is_kept"] if each.inserts else []
    return "".join(f"DROP TRIGGER {name} ON {each.table};\n" for name in names)
