"""Trigger SQL: what phones were shown stays, a published version and every item of it."""

REFUSE_CHANGES = """
CREATE FUNCTION a_published_questionnaire_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'ema_item' THEN
        IF NOT EXISTS (
            SELECT FROM ema_questionnaireversion
            WHERE published_at IS NOT NULL AND id IN (OLD.version_id, NEW.version_id)
        ) THEN
            RETURN COALESCE(NEW, OLD);
        END IF;
    ELSIF OLD.published_at IS NULL THEN
        RETURN COALESCE(NEW, OLD);
    END IF;
    RAISE EXCEPTION 'a published questionnaire never changes: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege', HINT = 'Make a new version.';
END $$;
CREATE TRIGGER a_published_questionnaire_never_changes
    BEFORE UPDATE OR DELETE ON ema_questionnaireversion
    FOR EACH ROW EXECUTE FUNCTION a_published_questionnaire_never_changes();
CREATE TRIGGER items_of_a_published_questionnaire_never_change
    BEFORE INSERT OR UPDATE OR DELETE ON ema_item
    FOR EACH ROW EXECUTE FUNCTION a_published_questionnaire_never_changes();
"""
ALLOW_CHANGES = """
DROP TRIGGER items_of_a_published_questionnaire_never_change ON ema_item;
DROP TRIGGER a_published_questionnaire_never_changes ON ema_questionnaireversion;
DROP FUNCTION a_published_questionnaire_never_changes();
"""
