"""Every address of the server, and who gets in. `rows.py` tells how a line is read.

A new address fails `tests/test_authorisation_matrix.py` until it has its line here.
"""

from tests.authorisation.rows import READERS, Row, anywhere, records, site, study, whole

CARERS = "coordinator investigator"
PLANNERS = "investigator statistician"
LISTED = f"{READERS} auditor administrator"
EVERY_METHOD = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), "everyone")

ROWS: dict[str, Row] = {
    # --- for everybody ---------------------------------------------------------------------
    "home": anywhere(**EVERY_METHOD),
    "favicon.ico": anywhere(**EVERY_METHOD),
    "live": anywhere(**EVERY_METHOD),
    "ready": anywhere(**EVERY_METHOD),
    "scanned": anywhere(GET="everyone"),
    # --- one's own account -----------------------------------------------------------------
    "account:account": anywhere(GET="login"),
    "account:second-factor": anywhere(GET="login", POST="login"),
    "account:recovery-codes": anywhere(POST="login"),
    "account:make-token": anywhere(POST="login"),
    "console:unblind": study(GET="pharmacist", POST="pharmacist"),
    "console:unblind-study": whole(GET="statistician pharmacist", POST="statistician pharmacist"),
    "account:revoke-token": anywhere(),  # of somebody else
    # --- phones ----------------------------------------------------------------------------
    "phone:redeem": anywhere(POST="everyone", OPTIONS="everyone"),
    "phone:refresh": anywhere(POST="everyone", OPTIONS="everyone"),
    "phone:time": anywhere(GET="everyone"),
    "phone:docs": anywhere(**EVERY_METHOD),
    "phone:schema": anywhere(GET="everyone"),
    "phone:questionnaire": anywhere({"key": "hourly"}, GET="phone"),
    "phone:config": anywhere(GET="phone"),
    "phone:preferences": anywhere(GET="phone", PATCH="phone"),
    "phone:withdraw": anywhere(POST="phone", OPTIONS="phone"),
    "phone:data": anywhere(GET="phone"),
    "phone:schedule": anywhere(GET="phone"),
    "phone:submissions": anywhere(POST="phone", OPTIONS="phone"),
    "phone:events": anywhere(POST="phone", OPTIONS="phone"),
    "phone:push-registration": anywhere(PUT="phone", DELETE="phone", OPTIONS="phone"),
    # --- programs of operators -------------------------------------------------------------
    "analysis:comparison": study(GET="statistician", OPTIONS="login"),
    "analysis:outcomes": study(GET="statistician", OPTIONS="login"),
    "analysis:snapshots": study(GET=PLANNERS, POST=PLANNERS, OPTIONS="login"),
    "analysis:safety": study(GET="statistician", OPTIONS="login"),
    "analysis:cremas": study(GET=READERS, OPTIONS="login"),
    "analysis:snapshot-file": study({"name": "codebook.csv"}, GET=PLANNERS, OPTIONS="login"),
    "study-alerts": study(GET=CARERS, OPTIONS="login"),
    # --- pages of a study ------------------------------------------------------------------
    "analytics:studies": anywhere(GET="login"),
    "analytics:comparison": study(GET="statistician"),
    "analytics:figure": study(GET="statistician"),
    "analytics:figure-file": study(GET="statistician"),
    "analytics:freeze": study(POST="statistician"),
    "analytics:frozen": study(GET="statistician"),
    "analytics:outcomes": study(GET="statistician"),
    "analytics:outcomes-figure": study(GET="statistician"),
    "analytics:cremas": study(GET=READERS),
    "analytics:cremas-file": study({"kind": "csv"}, GET=READERS),
    "analytics:cremas-figure": study({"kind": "csv"}, GET=READERS),
    "analytics:plans": study(GET=PLANNERS),
    "analytics:write-plan": study(GET=PLANNERS, POST=PLANNERS),
    "analytics:plan": study(GET=PLANNERS),
    "analytics:lock-plan": study(POST=PLANNERS),
    "analytics:delete-plan": study(POST=PLANNERS),
    "analytics:snapshots": study(GET=PLANNERS),
    "analytics:ask-for-snapshot": study(POST=PLANNERS),
    "console:allocation": study(GET="coordinator"),
    "console:allocate": site(GET="coordinator", POST="coordinator"),
    "console:in-error": site(POST="coordinator"),
    "console:allocation-lists": anywhere(GET="administrator"),
    "console:draw-list": study(POST="administrator"),
    "console:upload-list": study(POST="administrator"),
    "console:audit": study(GET=f"{READERS} auditor"),
    "console:audit-changes": study(GET=f"{READERS} auditor"),
    "console:audit-event": site(GET=f"{READERS} auditor"),
    "console:audit-file": study({"of": "events", "file_format": "csv"}, GET=f"{READERS} auditor"),
    "console:adverse-events": study(GET=READERS),
    "console:adverse-events-file": study(GET=READERS),
    "console:report-adverse-event": study(GET="coordinator", POST="coordinator"),
    "console:adverse-event": site(GET=READERS, POST="coordinator"),
    "console:strike-adverse-event": site(POST="coordinator"),
    "console:entries": study(GET="coordinator"),
    "console:entry": site(GET="coordinator", POST="coordinator"),
    "console:decide-entry": site(POST="coordinator"),
    "console:withdraw-entry": site(POST="coordinator"),
    "console:urine": study(GET=READERS, POST="coordinator"),
    "console:urine-file": study(GET=READERS),
    "console:alerts": study(GET=CARERS),
    "console:alert": site(GET=CARERS),
    "console:acknowledge-alert": site(POST=CARERS),
    "console:add-alert-note": site(POST=CARERS),
    "console:alert-rules": study(GET=CARERS),
    "console:add-offered-rules": study(POST="investigator"),
    "scheduler:ledger": study(GET=READERS),
    "scheduler:phones": study(GET="coordinator investigator"),
    "console:flow": study(GET=READERS),
    "console:flow-file": study({"kind": "svg"}, GET=READERS),
    "console:screening": study(GET="coordinator", POST="coordinator"),
    "console:new-study": anywhere(GET="administrator", POST="administrator"),
    "console:set-up": study(GET="administrator"),
    "console:start-study": study(POST="administrator"),
    "console:add-to-study": study({"step": "arms"}, POST="administrator"),
    "console:enrol": study(GET="coordinator", POST="coordinator"),
    "console:new-code": site(GET="coordinator", POST="coordinator"),
    "console:waking-hours": site(GET="coordinator", POST="coordinator"),
    "console:landing": anywhere(GET="login"),
    "console:today": study(GET=READERS),
    "console:participants": study(GET=READERS),
    "console:roster-file": study(GET=READERS),
    "console:timeline": site(GET=READERS, POST="coordinator"),
    "console:compliance": study(GET=READERS),
    "console:compliance-file": study({"kind": "csv"}, GET=READERS),
    # --- the admin -------------------------------------------------------------------------
    "admin:login": anywhere(GET="everyone", POST="everyone", PUT="everyone"),
    "admin:logout": anywhere(POST="login", OPTIONS="login"),
    "admin:index": anywhere(GET="operator", POST="operator"),
    "admin:password_change": anywhere(GET="operator", POST="operator", PUT="operator"),
    "admin:password_change_done": anywhere(GET="operator"),
    "admin:jsi18n": anywhere(GET="operator"),
    "admin:autocomplete": anywhere(OPTIONS="operator"),
    "admin:view_on_site": anywhere(),
    "admin:app_list": anywhere(
        GET=f"administrator auditor {READERS}", POST=f"administrator auditor {READERS}"
    ),
    "admin/(?P<url>.*)$": anywhere(),
    # --- records, by model -----------------------------------------------------------------
    **records("ema_participant", of="site", read=READERS, add="coordinator", change="coordinator"),
    **records("ema_visit", of="site", read=READERS, add="coordinator", change="coordinator"),
    **records("ema_pause", of="site", read=READERS, add="coordinator"),
    **records("ema_prompt", of="site", read=READERS),
    **records("ema_response", of="site", read=READERS),
    **records("ema_urinetest", of="site", read=READERS, change="coordinator"),
    **records("ema_quarantine", of="site", read=READERS, change="coordinator"),
    **records("ema_device", of="site", read=READERS),
    **records("ema_pushregistration", of="site", read=READERS),
    **records("scheduler_delivery", of="site", read=READERS),
    **records("ema_auditevent", of="site", read=f"{READERS} auditor"),
    **records(
        "ema_alertrule",
        of="study",
        read=f"{CARERS} administrator",
        add="investigator administrator",
        change="investigator administrator",
    ),
    # --- what an administrator sets up -----------------------------------------------------
    **records(
        "ema_study", of="study", read="administrator", add="administrator", change="administrator"
    ),
    **records(
        "ema_questionnaire",
        of="study",
        read="administrator",
        add="administrator",
        change="administrator",
        delete="administrator",
    ),
    **records("ema_questionnaireversion", of="study", read="administrator", add="administrator"),
    **records(
        "auth_user", of="study", read="administrator", add="administrator", change="administrator"
    ),
    "admin:ema_questionnaireversion_default": anywhere(GET="administrator"),  # POST names a study
    "admin:auth_user_password_change": anywhere(GET="administrator", POST="administrator"),
    **{
        f"admin:ema_questionnaireversion_{page}": anywhere(
            GET="administrator", POST="administrator"
        )
        for page in ("import", "preview", "publish", "copy", "export")
    },
}
