"""The client that openapi-python-client has made of the document: all of it is imported, and goes a way."""

import importlib
import json
import pkgutil
import sys
from datetime import UTC, datetime

from check import check, end, same

setting = json.load(sys.stdin)
sys.path.insert(0, setting["generated"])

with check("all modules can be imported"):
    package = importlib.import_module("referral_client")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "referral_client.")]
    faults = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a module cannot do is a finding
            faults[name] = error
    same(faults, {})
    # One for each operation and each schema, and what is around them.
    assert len(names) > 100, f"{len(names)} modules are few"

# Without them there is nothing to go on with.
end()

from referral_client import AuthenticatedClient, Client, models  # noqa: E402
from referral_client.api.accounts import get_profile, log_in, log_out, register_account  # noqa: E402
from referral_client.api.codes import create_code, list_codes, look_up_code, validate_code  # noqa: E402
from referral_client.api.o_auth import request_tokens  # noqa: E402
from referral_client.api.referrals import list_referrals  # noqa: E402

nobody = Client(base_url=setting["url"])
OWNER, FRIEND, CODE = "maria", "ivan", "SPRING2030AB"


def registration(name, **more):
    return models.NewUser(username=name, email=f"{name}@example.com", password=setting["password"], **more)


def is_a(kind, value):
    assert isinstance(value, kind), f"{value!r} is no {kind.__name__}"
    return value


with check("somebody registers"):
    user = register_account.sync(client=nobody, body=registration(OWNER))
    same(is_a(models.UserOut, user).username, OWNER)

with check("they log in"):
    body = models.TokenRequest(username=OWNER, password=setting["password"])
    tokens = is_a(models.TokenOut, log_in.sync(client=nobody, body=body))
    same(tokens.token_type, models.TokenType.BEARER)

with check("they refresh"):
    grant = models.LogInGrantType.REFRESH_TOKEN
    body = models.TokenRequest(grant_type=grant, refresh_token=tokens.refresh_token)
    tokens = is_a(models.TokenOut, log_in.sync(client=nobody, body=body))

me = AuthenticatedClient(base_url=setting["url"], token=tokens.access_token)

with check("they see their account"):
    account = is_a(models.Me, get_profile.sync(client=me))
    same((account.roles, account.active_code, account.referred_by), ([models.Role.USER], None, None))
    is_a(models.EmailVerdict, account.email_verdict)

with check("they make a code"):
    body = models.NewCode(code=CODE, expires_at=datetime(2090, 10, 10, 12, tzinfo=UTC))
    code = is_a(models.CodeOut, create_code.sync(client=me, body=body))
    same((code.code, code.is_active, code.expires_at), (CODE, True, body.expires_at))

with check("they list their codes"):
    page = list_codes.sync(client=me, size=10)
    same((page.total, page.next_cursor, [is_a(models.CodeOut, item).code for item in page.items]), (1, None, [CODE]))

with check("the code is looked up"):
    found = look_up_code.sync(client=me, body=models.LookUp(email=f"{OWNER}@example.com"))
    same((is_a(models.FoundCode, found).code, found.user.username), (CODE, OWNER))
    asked = validate_code.sync(client=nobody, body=models.CodeQuestion(code="spring-2030-ab"))
    same((is_a(models.Validity, asked).valid, asked.username), (True, OWNER))

with check("a friend registers with it"):
    is_a(models.UserOut, register_account.sync(client=nobody, body=registration(FRIEND, code=CODE)))

with check("the friend is in the list of referrals"):
    page = list_referrals.sync(str(account.id), client=me)
    (referee,) = page.items
    same((page.total, is_a(models.RefereeOut, referee).username, referee.code), (1, FRIEND, CODE))
    same(referee.status, models.ReferralStatus.CONFIRMED)

with check("an error is a typed problem"):
    answer = register_account.sync_detailed(client=nobody, body=registration(FRIEND))
    same((answer.status_code, is_a(models.Problem, answer.parsed).code), (409, models.ProblemCode.USERNAME_TAKEN))

with check("a field that breaks a rule is named"):
    body = registration(FRIEND)
    body.username = "no blanks in names"
    problem = is_a(models.Problem, register_account.sync(client=nobody, body=body))
    same(problem.code, models.ProblemCode.INVALID)
    same([is_a(models.FieldProblem, error).loc for error in problem.errors], [["body", "username"]])

with check("an error of OAuth is typed"):
    grant = models.GrantType.CLIENT_CREDENTIALS
    body = models.OAuthTokenRequest(grant_type=grant, client_id="nobody", client_secret="nothing")
    answer = request_tokens.sync_detailed(client=nobody, body=body)
    same((answer.status_code, is_a(models.OAuthProblem, answer.parsed).error), (401, models.OAuthError.INVALID_CLIENT))

with check("they log out, and their token is no good any more"):
    same(log_out.sync_detailed(client=me).status_code, 204)
    problem = is_a(models.Problem, get_profile.sync(client=me))
    same(problem.code, models.ProblemCode.INVALID_TOKEN)

end()
