"""The addresses of the pages."""

from django.urls import path

from market.web.views import accounts, claims, earnings, finding, media, money, replays, research, reviews, submissions

app_name = "web"
urlpatterns = [
    path("", finding.listing, name="listing"),
    path("place", finding.choose_place, name="place"),
    path("tasks/<str:task>", finding.task_page, name="task"),
    path("tasks/<str:task>/claim", finding.claim, name="claim-task"),
    path("claims/<str:claim>", claims.claim_page, name="claim"),
    path("claims/<str:claim>/send", claims.send, name="send"),
    path("claims/<str:claim>/cannot", claims.cannot, name="cannot"),
    path("claims/<str:claim>/extend", claims.extend, name="extend"),
    path("claims/<str:claim>/drop", claims.drop, name="drop"),
    path("submissions/<str:submission>", submissions.submission_page, name="submission"),
    path("submissions/<str:submission>/retake", submissions.retake, name="retake"),
    path("submissions/<str:submission>/appeal", submissions.appeal, name="appeal"),
    path("submissions/<str:submission>/waive", submissions.waive, name="waive"),
    path("work", submissions.work, name="work"),
    path("money", money.money_page, name="money"),
    path("recover", accounts.recover, name="recover"),
    path("leave", accounts.leave, name="leave"),
    path("photos/<str:token>", media.photo, name="photo"),
    path("research", research.bounties, name="research"),
    path("research/<str:bounty>", research.bounty, name="research-bounty"),
    path("research/<str:bounty>/frontier.csv", research.frontier_csv, name="frontier-csv"),
    path("candidates/<str:candidate>", research.candidate, name="candidate"),
    path("candidates/<str:candidate>/curves.csv", research.curves_csv, name="curves-csv"),
    path("candidates/<str:candidate>/gains.csv", research.gains_csv, name="gains-csv"),
    path("candidates/<str:candidate>/test.csv", research.test_csv, name="test-csv"),
    path("earnings", earnings.earnings, name="earnings"),
    path("earnings.csv", earnings.earnings_csv, name="earnings-csv"),
    path("earnings/days.csv", earnings.days_csv, name="earning-days-csv"),
    path("replays/<str:replay>", replays.replay, name="replay"),
    path("replays/<str:replay>/appeal", replays.appeal, name="replay-appeal"),
    path("replays/<str:replay>/curves.csv", replays.parting_csv, name="parting-csv"),
    path("review", reviews.queue, name="reviews"),
    path("review/<str:review>", reviews.case, name="review"),
]
