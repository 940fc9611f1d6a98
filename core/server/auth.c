/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords and tokens. */
#include "internal.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <gnutls/crypto.h>

/* bcrypt looks at 72 bytes of a password and no more. */
enum { BCRYPT_BYTES = 72, HASH_BYTES = 60 };

/* ---- the header */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Canonical base64 with its padding. Returns the length, or SIZE_MAX. */
static size_t decode_base64(pra_str text, char *out, size_t cap)
{
    size_t pad = 0, len = 0;
    uint32_t bits = 0;
    while (pad < 2 && pad < text.len && text.ptr[text.len - 1 - pad] == '=')
        pad++;
    if (text.len % 4 || text.len == 0 || text.len / 4 * 3 > cap)
        return SIZE_MAX;
    for (size_t i = 0; i < text.len; i++) {
        int digit = i < text.len - pad ? base64_digit(text.ptr[i]) : 0;
        if (digit < 0)
            return SIZE_MAX;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 3) {
            out[len++] = (char)(bits >> 16 & 0xFF);
            out[len++] = (char)(bits >> 8 & 0xFF);
            out[len++] = (char)(bits & 0xFF);
        }
    }
    bool rest = (pad == 1 && (bits & 0xFF)) || (pad == 2 && (bits & 0xFFFF));
    return rest ? SIZE_MAX : len - pad;
}

static bool parse_basic(pra__authorization *out, pra_str text)
{
    size_t len = decode_base64(text, out->buf, sizeof(out->buf));
    const char *colon = len == SIZE_MAX ? NULL : memchr(out->buf, ':', len);
    if (!colon)
        return false;
    size_t at = (size_t)(colon - out->buf);
    out->scheme = PRA__BASIC;
    out->user = (pra_str){out->buf, at};
    out->secret = (pra_str){colon + 1, len - at - 1};
    return true;
}

static bool is_token(pra_str text)
{
    size_t len = text.len;
    while (len && text.ptr[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++)
        if (base64_digit(text.ptr[i]) < 0 && !strchr("-._~", text.ptr[i]))
            return false;
    return len > 0 && memchr(text.ptr, 0, text.len) == NULL;
}

bool pra__authorization_parse(pra_str value, pra__authorization *out)
{
    static const struct {
        const char *name;
        size_t len;
    } schemes[] = {{"basic ", 6}, {"bearer ", 7}};
    out->scheme = PRA__NO_SCHEME;
    while (value.len && strchr(" \t", value.ptr[value.len - 1]) && value.ptr[value.len - 1])
        value.len--;
    for (size_t i = 0; i < 2; i++) {
        size_t len = schemes[i].len;
        if (value.len <= len || strncasecmp(value.ptr, schemes[i].name, len))
            continue;
        pra_str rest = {value.ptr + len, value.len - len};
        for (; rest.len && *rest.ptr == ' '; rest.ptr++)
            rest.len--;
        if (i == 0)
            return parse_basic(out, rest);
        if (rest.len > sizeof(out->buf) || !is_token(rest))
            return false;
        out->scheme = PRA__BEARER;
        out->secret = rest;
        return true;
    }
    return false;
}

/* ---- keyed hashes */

int pra__auth_init(pra__auth *a, const pra_alloc *alloc)
{
    memset(a, 0, sizeof(*a));
    a->alloc = alloc;
    if (gnutls_rnd(GNUTLS_RND_KEY, a->key, sizeof(a->key)))
        return PRA_ERR_IO;
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return PRA_ERR_NOMEM;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(&a->free, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (rc)
        return PRA_ERR_NOMEM;
    (void)pthread_mutex_init(&a->lock, NULL);
    return PRA_OK;
}

void pra__auth_fini(pra__auth *a)
{
    (void)pthread_mutex_destroy(&a->lock);
    (void)pthread_cond_destroy(&a->free);
    gnutls_memset(a->key, 0, sizeof(a->key));
}

/* HMAC-SHA256 of the parts, each with its length before it. false: out of memory. */
static bool make_tag(const pra__auth *a, const pra_str *parts, size_t count, unsigned char *tag)
{
    gnutls_hmac_hd_t hmac;
    memset(tag, 0, PRA__TAG_BYTES);
    if (gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, a->key, sizeof(a->key)))
        return false;
    for (size_t i = 0; i < count; i++) {
        (void)gnutls_hmac(hmac, &parts[i].len, sizeof(parts[i].len));
        if (parts[i].len)
            (void)gnutls_hmac(hmac, parts[i].ptr, parts[i].len);
    }
    gnutls_hmac_deinit(hmac, tag);
    return true;
}

/* ---- tokens */

void pra__auth_token_tag(const pra__auth *a, pra_str token, unsigned char *tag)
{
    (void)make_tag(a, &token, 1, tag);
}

const pra__token *pra__auth_token(const pra__auth *a, const pra__token *tokens, size_t count,
                                  pra_str token)
{
    unsigned char tag[PRA__TAG_BYTES];
    const pra__token *found = NULL;
    if (!make_tag(a, &token, 1, tag))
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (gnutls_memcmp(tokens[i].tag, tag, sizeof(tag)) == 0)
            found = &tokens[i];
    return found;
}

/* ---- what is remembered; a->lock is held */

static bool is_verified(const pra__user *user, const unsigned char *tag)
{
    return user && user->verified && gnutls_memcmp(user->tag, tag, PRA__TAG_BYTES) == 0;
}

static bool was_wrong(const pra__auth *a, const unsigned char *tag)
{
    for (size_t i = 0; i < PRA__WRONG; i++)
        if (gnutls_memcmp(a->wrong[i], tag, PRA__TAG_BYTES) == 0)
            return true;
    return false;
}

static void remember(pra__auth *a, pra__user *user, const unsigned char *tag, bool right)
{
    if (right) {
        memcpy(user->tag, tag, PRA__TAG_BYTES);
        user->verified = true;
    } else {
        memcpy(a->wrong[a->wrong_at], tag, PRA__TAG_BYTES);
        a->wrong_at = (a->wrong_at + 1) % PRA__WRONG;
    }
}

void pra__auth_carry(pra__auth *a, const pra__web_config *before, pra__web_config *next)
{
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < next->user_count; i++)
        for (size_t k = 0; k < before->user_count; k++)
            if (strcmp(next->users[i].name, before->users[k].name) == 0 &&
                strcmp(next->users[i].hash, before->users[k].hash) == 0) {
                next->users[i].verified = before->users[k].verified;
                memcpy(next->users[i].tag, before->users[k].tag, PRA__TAG_BYTES);
            }
    pthread_mutex_unlock(&a->lock);
}

/* ---- turns; a->lock is held */

/* "1.2.3.4" of "1.2.3.4:567". */
static void host_of(const char *remote, char *out)
{
    const char *colon = strrchr(remote, ':');
    int len = colon ? (int)(colon - remote) : (int)strlen(remote);
    (void)snprintf(out, PRA__PLACE_BYTES, "%.*s", len ? len : 1, len ? remote : "?");
}

/* A free place for host, NULL if there is none or host has one already. */
static char *find_place(pra__auth *a, const char *host)
{
    char *place = NULL;
    for (size_t i = 0; i < PRA__CHECKS; i++) {
        if (strcmp(a->places[i], host) == 0)
            return NULL;
        if (!a->places[i][0])
            place = a->places[i];
    }
    return place;
}

static char *take_place(pra__auth *a, const pra__place *at)
{
    char host[PRA__PLACE_BYTES];
    struct timespec until = {(time_t)(at->until_ms / 1000), (long)(at->until_ms % 1000) * 1000000};
    host_of(at->remote_cstr, host);
    char *place = find_place(a, host);
    if (!place && a->waiting < PRA__WAITERS) {
        int rc = 0;
        a->waiting++;
        while (!place && rc == 0) {
            rc = pthread_cond_timedwait(&a->free, &a->lock, &until);
            place = find_place(a, host);
        }
        a->waiting--;
    }
    if (place)
        memcpy(place, host, sizeof(host));
    return place;
}

/* ---- passwords */

static pra__user *find_user(const pra__web_config *config, pra_str name)
{
    for (size_t i = 0; i < config->user_count; i++)
        if (strlen(config->users[i].name) == name.len &&
            memcmp(config->users[i].name, name.ptr, name.len) == 0)
            return &config->users[i];
    return NULL;
}

/* A hash to spend time on for a name that nobody has: it costs what one of the users' costs, always
 * the same for the same name. */
static const char *any_hash(const pra__auth *a, const pra__web_config *config, pra_str name)
{
    unsigned char tag[PRA__TAG_BYTES];
    (void)make_tag(a, &name, 1, tag);
    return config->users[((uint32_t)tag[0] << 8 | tag[1]) % config->user_count].hash;
}

/* 1 right, 0 wrong, -1 no memory. */
static int run_bcrypt(const pra_alloc *alloc, const char *hash, pra_str password)
{
    char text[BCRYPT_BYTES + 1] = "";
    struct crypt_data *data = alloc->fn(alloc->ctx, NULL, 0, sizeof(*data));
    if (!data)
        return -1;
    memset(data, 0, sizeof(*data));
    size_t len = password.len < BCRYPT_BYTES ? password.len : BCRYPT_BYTES;
    if (len)
        memcpy(text, password.ptr, len);
    const char *made = crypt_r(text, hash, data);
    bool right = made && strlen(made) == HASH_BYTES && gnutls_memcmp(made, hash, HASH_BYTES) == 0;
    right &= strlen(text) == len; /* crypt_r would not see what stands behind a NUL */
    gnutls_memset(data, 0, sizeof(*data));
    gnutls_memset(text, 0, sizeof(text));
    (void)alloc->fn(alloc->ctx, data, sizeof(*data), 0);
    return right;
}

/* a->lock is held, and given up while bcrypt works. */
static enum pra__verdict check(pra__auth *a, pra__user *user, const char *hash, pra_str password,
                               const unsigned char *tag, char *place)
{
    pthread_mutex_unlock(&a->lock);
    int right = run_bcrypt(a->alloc, hash, password);
    pthread_mutex_lock(&a->lock);
    place[0] = 0;
    pthread_cond_broadcast(&a->free);
    if (right < 0)
        return PRA__CHECK_LATER;
    right = right && user;
    remember(a, user, tag, right);
    return right ? PRA__RIGHT : PRA__WRONG_SECRET;
}

enum pra__verdict pra__auth_password(pra__auth *a, const pra__web_config *config, pra_str name,
                                     pra_str password, const pra__place *at, const pra__user **out)
{
    unsigned char tag[PRA__TAG_BYTES];
    pra__user *user = find_user(config, name);
    const char *hash = user ? user->hash : "";
    if (!make_tag(a, (pra_str[]){{hash, strlen(hash)}, name, password}, 3, tag))
        return PRA__CHECK_LATER;
    pthread_mutex_lock(&a->lock);
    char *place = NULL;
    if (at->may_check && !is_verified(user, tag) && !was_wrong(a, tag))
        place = take_place(a, at);
    enum pra__verdict verdict;
    if (is_verified(user, tag)) /* or another connection has just found out */
        verdict = PRA__RIGHT;
    else if (was_wrong(a, tag))
        verdict = PRA__WRONG_SECRET;
    else if (!place)
        verdict = PRA__CHECK_LATER;
    else {
        verdict = check(a, user, user ? hash : any_hash(a, config, name), password, tag, place);
        place = NULL;
    }
    if (place) {
        place[0] = 0;
        pthread_cond_broadcast(&a->free);
    }
    pthread_mutex_unlock(&a->lock);
    *out = user;
    return verdict;
}
