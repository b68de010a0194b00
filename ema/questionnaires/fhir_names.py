"""Names of FHIR R4 (4.0.1) that questionnaires are carried by; urn:fourbeat: is ours."""

VERSION = "4.0.1"
HL7 = "http://hl7.org/fhir/StructureDefinition"
CONTROL = f"{HL7}/questionnaire-itemControl"
CONTROL_CODES = "http://hl7.org/fhir/questionnaire-item-control"
MINIMUM = f"{HL7}/minValue"
MAXIMUM = f"{HL7}/maxValue"
DECIMALS = f"{HL7}/maxDecimalPlaces"
STEP = f"{HL7}/questionnaire-sliderStepValue"
UNIT = f"{HL7}/questionnaire-unit"
EXCLUSIVE = f"{HL7}/questionnaire-optionExclusive"
ORDINAL = f"{HL7}/ordinalValue"
TRANSLATION = f"{HL7}/translation"

KEY = "urn:fourbeat:questionnaire-key"
CODES = "urn:fourbeat:codes"
ROLE = "urn:fourbeat:item-role"
KIND = "urn:fourbeat:item-kind"
RECALL = "urn:fourbeat:item-recall"
SKIP_REASON = "urn:fourbeat:skip-reason"

DISPLAYED = {"help": "help", "low_label": "lower", "high_label": "upper"}  # field → control code
OPERATORS = {
    "is": "=",
    "includes": "=",
    "at_least": ">=",
    "at_most": "<=",
    "above": ">",
    "below": "<",
    "answered": "exists",
}
