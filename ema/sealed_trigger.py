"""Trigger SQL: what was sealed in an allocation list stays, and a spent slot stays spent."""

REFUSE_CHANGES = """
CREATE FUNCTION a_sealed_list_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a sealed allocation list never changes: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER a_sealed_list_never_changes BEFORE UPDATE OR DELETE ON ema_allocationlist
    FOR EACH ROW EXECUTE FUNCTION a_sealed_list_never_changes();
CREATE TRIGGER a_sealed_slot_is_never_removed BEFORE DELETE ON ema_allocation
    FOR EACH ROW WHEN (OLD.allocation_list_id IS NOT NULL)
    EXECUTE FUNCTION a_sealed_list_never_changes();
CREATE TRIGGER a_sealed_slot_keeps_its_arm BEFORE UPDATE ON ema_allocation
    FOR EACH ROW WHEN (
        OLD.allocation_list_id IS NOT NULL
        AND (OLD.allocation_list_id, OLD.study_id, OLD.stratum, OLD.position, OLD.arm_id,
             OLD.kit_code)
        IS DISTINCT FROM (NEW.allocation_list_id, NEW.study_id, NEW.stratum, NEW.position,
             NEW.arm_id, NEW.kit_code)
    ) EXECUTE FUNCTION a_sealed_list_never_changes();
CREATE FUNCTION a_spent_slot_stays_spent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a spent slot of an allocation list stays spent'
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER a_spent_slot_stays_spent BEFORE UPDATE ON ema_allocation
    FOR EACH ROW WHEN (
        OLD.allocation_list_id IS NOT NULL AND OLD.participant_id IS NOT NULL
        AND OLD.participant_id IS DISTINCT FROM NEW.participant_id
    ) EXECUTE FUNCTION a_spent_slot_stays_spent();
"""
ALLOW_CHANGES = """
DROP TRIGGER a_spent_slot_stays_spent ON ema_allocation;
DROP FUNCTION a_spent_slot_stays_spent();
DROP TRIGGER a_sealed_slot_keeps_its_arm ON ema_allocation;
DROP TRIGGER a_sealed_slot_is_never_removed ON ema_allocation;
DROP TRIGGER a_sealed_list_never_changes ON ema_allocationlist;
DROP FUNCTION a_sealed_list_never_changes();
"""
