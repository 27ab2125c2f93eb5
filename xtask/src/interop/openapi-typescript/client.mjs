// @ts-check
// openapi-fetch with the types that openapi-typescript has made of the document, which lie beside this file. tsc has
// looked at both before this runs: what a line below `@ts-expect-error` does must be refused by the types.

import createClient from 'openapi-fetch';

import { check, end, holds, same, setting } from '../javascript/check.mjs';

/** @typedef {import('./schema.ts').paths} Paths */
/** @typedef {import('./schema.ts').components['schemas']} Schemas */

const { url, password } = setting;
const nobody = /** @type {import('openapi-fetch').Client<Paths>} */ (createClient({ baseUrl: url }));

/** @param {string} token */
function client(token) {
  const headers = { authorization: `Bearer ${token}` };
  return /** @type {import('openapi-fetch').Client<Paths>} */ (createClient({ baseUrl: url, headers }));
}

/**
 * What came, or why not.
 *
 * @template T
 * @param {{ data?: T, error?: unknown, response: Response }} answer
 * @returns {T}
 */
function good({ data, error, response }) {
  if (data === undefined) throw new Error(`${response.status} ${JSON.stringify(error)}`);
  return data;
}

/** What a program does with each word of an enum; tsc refuses it when one is missing. */
const counts = /** @type {const} */ ({ pending: false, confirmed: true });
/** @type {Record<Schemas['ReferralStatus'], boolean>} */
const each = counts;

const [owner, friend] = ['maria', 'ivan'].map((username) => ({ username, email: `${username}@example.com`, password }));
if (owner === undefined || friend === undefined) throw new Error('two people are needed');
/** @type {Schemas['TokenOut'] | undefined} */
let tokens;

await check('somebody registers', async () => {
  // A service that is quiet about who has an account answers 202 without a body; this one is not.
  const user = good(await nobody.POST('/api/v1/auth/user', { body: owner }));
  if (user === undefined) throw new Error('the account is not told');
  same(user.username, owner.username);
  // @ts-expect-error
  holds(user.password === undefined, 'an account is told without its password');
});

await check('they log in', async () => {
  const body = { username: owner.username, password };
  tokens = good(await nobody.POST('/api/v1/auth/token', { body }));
  same(tokens.token_type, 'Bearer');
});

await check('they refresh', async () => {
  const refresh_token = tokens?.refresh_token ?? '';
  tokens = good(await nobody.POST('/api/v1/auth/token', { body: { grant_type: 'refresh_token', refresh_token } }));
  // @ts-expect-error
  const { error } = await nobody.POST('/api/v1/auth/token', { body: { grant_type: 'client_credentials' } });
  same(error?.code, 'invalid');
});

const me = client(tokens?.access_token ?? '');
let id = '';

await check('they see their account', async () => {
  const account = good(await me.GET('/api/v1/me'));
  id = account.id;
  same([account.roles, account.active_code, account.referred_by], [['user'], null, null]);
  // @ts-expect-error
  holds(account.email_verdict !== 'splendid', 'no verdict is called so');
});

await check('they make a code', async () => {
  const code = good(await me.POST('/api/v1/codes', { body: { code: 'SPRING2030AB', expires_at: '2090-10-10 12:00' } }));
  same([code.code, code.is_active], ['SPRING2030AB', true]);
  // @ts-expect-error
  const { error } = await me.POST('/api/v1/codes', { body: { code: 'SUMMER2030AB' } });
  same(error?.errors?.map(({ loc, type }) => ({ loc, type })), [{ loc: ['body', 'expires_at'], type: 'missing' }]);
});

await check('they list their codes', async () => {
  const list = good(await me.GET('/api/v1/codes', { params: { query: { size: 10 } } }));
  /** @type {Schemas['CodeOut'][]} */
  const items = list.items;
  same([list.total, list.next_cursor, items.map(({ code }) => code)], [1, null, ['SPRING2030AB']]);
});

await check('the code is looked up', async () => {
  const found = good(await me.POST('/api/v1/codes/lookup', { body: { email: owner.email } }));
  same([found.code, found.user.username], ['SPRING2030AB', owner.username]);
  const asked = good(await nobody.POST('/api/v1/codes/validate', { body: { code: 'spring-2030-ab' } }));
  same([asked.valid, asked.username], [true, owner.username]);
});

await check('a friend registers with it', async () => {
  good(await nobody.POST('/api/v1/auth/user', { body: { ...friend, code: 'SPRING2030AB' } }));
});

await check('the friend is in the list of referrals', async () => {
  const list = good(await me.GET('/api/v1/users/{referrer_id}/referrals', { params: { path: { referrer_id: id } } }));
  same([list.total, list.items[0]?.username, list.items[0]?.code], [1, friend.username, 'SPRING2030AB']);
  holds(list.items.every(({ status }) => each[status]), 'the referral counts');
});

await check('an error is a typed problem', async () => {
  const { error, response } = await nobody.POST('/api/v1/auth/user', { body: friend });
  same([response.status, error?.status, error?.code], [409, 409, 'username_taken']);
  // @ts-expect-error
  holds(error?.code !== 'user_name_taken', 'no problem is called so');
});

await check('an error of OAuth is typed', async () => {
  const { error, response } = await nobody.POST('/oauth/token', {
    body: { grant_type: 'client_credentials', client_id: 'nobody', client_secret: 'nothing' },
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  same(response.status, 401);
  holds(error !== undefined && 'error' in error && error.error === 'invalid_client', JSON.stringify(error));
});

await check('they log out, and their token is no good any more', async () => {
  same((await me.POST('/api/v1/auth/logout')).response.status, 204);
  const { error, response } = await me.GET('/api/v1/me');
  same([response.status, error?.code], [401, 'invalid_token']);
});

end();
