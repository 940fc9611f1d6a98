/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may come in: TLS, passwords and tokens.
 *
 * What the files say is one object, pra__rules, that is never changed but replaced: before each
 * request and each new connection the files are looked at (stat), and read again when one of them
 * is another. A connection keeps the rules that its TLS began with, a request those that it was let
 * in by. If the files cannot be used, that is logged once and the rules before stay in force:
 * certificates and their keys are replaced one after the other, and in between nobody is to be
 * turned away. (Prometheus' own servers refuse everybody until the files are right.) Nor do files
 * that ask nobody any more replace rules that ask everybody: that is how one that is just being
 * written looks. (Prometheus lets everybody in then.)
 */
#ifndef PRA_SERVER_DOOR_H
#define PRA_SERVER_DOOR_H

#include "web_config.h"

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- tls.c: what GnuTLS needs to begin a session */

typedef struct pra__tls {
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    gnutls_priority_t older; /* for a client of TLS 1.2 or less; NULL = the same */
    const pra__tls_config *config;
} pra__tls;

/* PEM. client_ca may be empty. */
typedef struct pra__tls_files {
    pra_str cert, key, client_ca;
} pra__tls_files;

/* Fills out; config is borrowed. PRA_ERR_INVALID_ARG, PRA_ERR_NOMEM. */
int pra__tls_init(pra__tls *out, const pra__tls_config *config, const pra__tls_files *files,
                  pra_error *err);
void pra__tls_fini(pra__tls *tls);
/* The session, which has not begun, will be as tls says, which must outlive it. verify is called if
 * client certificates are asked for, also when there is none. 0 or an error of GnuTLS. */
int pra__tls_attach(const pra__tls *tls, gnutls_session_t session,
                    gnutls_certificate_verify_function *verify);
/* Whether nobody comes in without a certificate. */
bool pra__tls_needs_client(const pra__tls_config *config);
/* Whether the client's certificate is good enough; if not, tells the client and says why. */
bool pra__tls_client_is_good(const pra__tls *tls, gnutls_session_t session, char *why, size_t cap);

/* ---- auth.c: passwords and tokens */

typedef struct pra__token {
    const char *name; /* may be "" */
    unsigned char tag[PRA__TAG_BYTES];
} pra__token;

enum pra__scheme { PRA__NO_SCHEME, PRA__BASIC, PRA__BEARER };

/* An Authorization header. Everything points into the header's value or into buf. */
typedef struct pra__authorization {
    enum pra__scheme scheme;
    pra_str user, secret;
    char buf[3072]; /* Basic: decoded */
} pra__authorization;

/* false if value is no well-formed Basic or Bearer, or longer than anybody needs. */
bool pra__authorization_parse(pra_str value, pra__authorization *out);

enum { PRA__CHECKS = 2, PRA__WAITERS = 64, PRA__WRONG = 256, PRA__PLACE_BYTES = 64 };

/* The state of checks. bcrypt takes tens of milliseconds of CPU: PRA__CHECKS at a time, one for
 * each address that asks, so that whoever guesses does not keep others out for long. What was found
 * right is remembered with the user, the last wrong ones in a ring: as HMACs with a key of this
 * process. */
typedef struct pra__auth {
    const pra_alloc *alloc;
    unsigned char key[PRA__TAG_BYTES];
    pthread_mutex_t lock;
    pthread_cond_t free;
    char places[PRA__CHECKS][PRA__PLACE_BYTES]; /* who is being checked; "" = free */
    uint32_t waiting;
    uint32_t wrong_at;
    unsigned char wrong[PRA__WRONG][PRA__TAG_BYTES];
} pra__auth;

enum pra__verdict { PRA__RIGHT, PRA__WRONG_SECRET, PRA__CHECK_LATER };

typedef struct pra__place {
    const char *remote_cstr; /* "1.2.3.4:567" */
    uint64_t until_ms;       /* how long to wait for a check */
    bool may_check;          /* else only what is remembered counts */
} pra__place;

int pra__auth_init(pra__auth *a, const pra_alloc *alloc);
void pra__auth_fini(pra__auth *a);
/* Compares with bcrypt. *user = the one that it is, if PRA__RIGHT. */
enum pra__verdict pra__auth_password(pra__auth *a, const pra__web_config *config, pra_str name,
                                     pra_str password, const pra__place *place,
                                     const pra__user **user);
void pra__auth_token_tag(const pra__auth *a, pra_str token, unsigned char *tag);
/* NULL if it is none of them; the time it takes does not tell which one it resembles. */
const pra__token *pra__auth_token(const pra__auth *a, const pra__token *tokens, size_t count,
                                  pra_str token);
/* Users of next whose name and hash are as in before need not be checked again. */
void pra__auth_carry(pra__auth *a, const pra__web_config *before, pra__web_config *next);

/* ---- door.c: the files, and the decision */

typedef struct pra__rules {
    atomic_uint refs;
    pra_arena *arena;
    pra__web_config config;
    const pra__token *tokens;
    size_t token_count;
    bool has_tls;
    pra__tls tls;
} pra__rules;

typedef struct pra__door pra__door;

/* Reads the files; NULL for one that is not given. PRA_ERR_INVALID_ARG says what is wrong where. */
int pra__door_new(const pra_alloc *alloc, const pra_log *log, const char *web_config_cstr,
                  const char *tokens_cstr, pra__door **out, pra_error *err);
void pra__door_free(pra__door *door);
/* The rules of this moment; give them back with pra__rules_release. */
pra__rules *pra__door_rules(pra__door *door);
void pra__rules_release(pra__rules *rules, const pra_alloc *alloc);
bool pra__door_has_tls(const pra__door *door);
/* Whether everybody is asked who they are. */
bool pra__rules_ask(const pra__rules *rules);
/* 1 if the last reading went well. */
bool pra__door_is_current(pra__door *door);

/* Why a request is not let in. */
typedef struct pra__refusal {
    unsigned status;
    const char *reason, *message; /* static */
} pra__refusal;

/* Whether a request with these headers may come in under the rules; *user then. */
bool pra__door_admits(pra__door *door, pra__rules *rules, const pra_header *headers, size_t count,
                      const pra__place *place, pra_str *user, pra__refusal *why);

#endif
