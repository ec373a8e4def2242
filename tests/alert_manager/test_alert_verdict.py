import re
from datetime import timedelta

import pytest

from pyros.actors.alert_manager.notice import galactic_latitude_deg, separation_deg
from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.tables import TableError
from pyros.actors.alert_manager.verdict import AlertPolicy, judge, policy_from
from pyros.actors.alert_manager.voevent import read

POLICY = AlertPolicy()


def after(notice, seconds, policy=POLICY, **more):
    return judge(notice, policy, notice.reference + timedelta(seconds=seconds), **more)


@pytest.mark.parametrize(
    ("policy", "age_s", "says"),
    [
        ({"max_age_s": 600.0}, 601, "0.2 h old at reception; at most 0.2 h|601 s"),
        ({}, -120, "120 s in the future; at most 60 s"),
        ({"max_error_deg": 0.01}, 30, "radius 0.05° .90 %. is above 0.01°"),
        ({"min_significance": 11.0}, 30, "significance 10.75 is below 11"),
        ({"min_galactic_latitude_deg": 60.0}, 30, "galactic latitude .* is within 60°"),
        ({"missions": ("SVOM",)}, 30, "Swift is not among"),
    ],
)
def test_each_filter_rejects_with_its_figures(notice, policy, age_s, says):
    """AL-P2."""
    verdict = after(notice("swift_bat"), age_s, AlertPolicy(**policy))
    assert not verdict.accepted
    assert re.search(says, verdict.reason), verdict.reason


def test_an_accepted_notice_says_why_in_figures(notice):
    verdict = after(notice("swift_bat"), 25)
    assert verdict.accepted
    assert "0.05°" in verdict.reason
    assert "25 s after T0" in verdict.reason


def test_a_switch_of_the_policy_lets_through_what_it_names_and_no_more(notice):
    source = notice("swift_bat_catalogue")
    assert not after(source, 20, AlertPolicy(accept_catalogue_sources=True)).accepted  # not identified either
    assert after(source, 20, AlertPolicy(accept_catalogue_sources=True, accept_not_identified=True)).accepted
    assert after(notice("svom_catalogue"), 20, AlertPolicy(accept_catalogue_sources=True)).accepted
    assert after(notice("swift_test"), 20, AlertPolicy(accept_tests=True)).accepted


def test_a_burst_that_gbm_is_not_sure_of_is_not_believed(raw):
    unsure = interpret(
        read(raw("fermi_gbm_flt").replace(b'"Most_Likely_Prob" value="97"', b'"Most_Likely_Prob" value="41"'))
    )
    assert "41 % only" in after(unsure, 30, AlertPolicy(max_error_deg=20)).reason


def test_a_final_position_is_held_against_what_the_trigger_was_taken_for_before(notice):
    wide = AlertPolicy(max_error_deg=5)
    assert after(notice("fermi_gbm_fin"), 600, wide).accepted
    assert "solar flare" in after(notice("fermi_gbm_fin"), 600, wide, earlier_class="solar flare").reason


def test_a_burst_stays_a_burst_though_its_position_is_of_no_use(notice):
    """AL-T9: what is too wide to look at still helps to tell that a later notice is of the same burst."""
    assert (after(notice("fermi_gbm_flt"), 30).accepted, after(notice("fermi_gbm_flt"), 30).burst) == (False, True)
    for name in ("fermi_gbm_flt_tgf", "swift_test", "svom_catalogue", "svom_retraction", "unknown_stream"):
        assert not after(notice(name), 30).burst, name


def test_a_burst_below_the_horizon_is_rejected_in_the_words_of_the_visibility(notice):
    asked = []

    def visibility(ra_deg, dec_deg):
        asked.append((ra_deg, dec_deg))
        return "below 20° until 03:10 UTC"

    assert after(notice("swift_bat"), 30, visibility=visibility).reason == "not visible: below 20° until 03:10 UTC"
    assert asked == [(120.5012, 22.1034)]
    assert after(notice("swift_bat"), 30, visibility=lambda ra_deg, dec_deg: "").accepted


def test_a_policy_names_all_its_faults_at_once():
    with pytest.raises(TableError) as refused:
        policy_from({"max_age_s": -1, "max_eror_deg": 2, "accept_tests": "yes", "source": []})
    assert len(refused.value.faults) == 3
    assert "did you mean max_error_deg?" in str(refused.value)
    assert policy_from({"max_error_deg": 2, "missions": ["Swift"]}) == AlertPolicy(max_error_deg=2, missions=("Swift",))


def test_galactic_latitude_agrees_with_the_known_places():
    assert galactic_latitude_deg(266.405, -28.936) == pytest.approx(0, abs=0.01)  # the centre
    assert galactic_latitude_deg(12.859, -27.128) == pytest.approx(-90, abs=0.01)
    assert separation_deg(359.9, 0, 0.1, 0) == pytest.approx(0.2)
