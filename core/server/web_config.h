/* SPDX-License-Identifier: Apache-2.0 */
/* The file of --web.config.file: Prometheus' web configuration (exporter-toolkit 0.17). */
#ifndef PRA_SERVER_WEB_CONFIG_H
#define PRA_SERVER_WEB_CONFIG_H

#include "pra_server.h"

#include <stdbool.h>

enum { PRA__CURVES = 4, PRA__SUITES = 16, PRA__TAG_BYTES = 32 };

enum pra__tls_version { PRA__TLS10, PRA__TLS11, PRA__TLS12, PRA__TLS13 };

enum pra__client_auth {
    PRA__NO_CLIENT_CERT,
    PRA__REQUEST_CLIENT_CERT,     /* asked for, anything goes, none too */
    PRA__REQUIRE_ANY_CLIENT_CERT, /* there must be one, nobody has to have signed it */
    PRA__VERIFY_IF_GIVEN,         /* none, or one that the client CA has signed */
    PRA__REQUIRE_AND_VERIFY       /* one that the client CA has signed */
};

/* A TLS 1.2 cipher suite, by its parts in GnuTLS. */
typedef struct pra__suite {
    const char *name, *cipher;
    bool ecdsa; /* for ECDSA and EdDSA keys; else for RSA keys */
} pra__suite;

/* Texts are NUL-terminated and in the arena; NULL = not given. */
typedef struct pra__tls_config {
    bool present;
    uint32_t line; /* of tls_server_config */
    const char *cert, *key, *client_ca;
    const char *cert_file, *key_file, *client_ca_file; /* seen from the configuration file */
    enum pra__client_auth client_auth;
    const char **client_sans;
    size_t client_san_count;
    enum pra__tls_version min_version, max_version;
    const pra__suite *suites[PRA__SUITES]; /* none: the usual ones */
    size_t suite_count;
    bool suites_given;
    const char *curves[PRA__CURVES]; /* GnuTLS' names of groups; none: the usual ones */
    size_t curve_count;
    bool prefer_server;
} pra__tls_config;

typedef struct pra__user {
    const char *name, *hash;
    /* The keyed hash of the password that was found right; guarded by pra__auth.lock. */
    bool verified;
    unsigned char tag[PRA__TAG_BYTES];
} pra__user;

typedef struct pra__web_header {
    const char *name, *value;
} pra__web_header;

typedef struct pra__web_config {
    pra__tls_config tls;
    bool http2; /* asked for in so many words */
    pra__web_header *headers;
    size_t header_count;
    pra__user *users;
    size_t user_count;
    uint64_t rate_interval_ns; /* 0 = no limit */
    uint64_t rate_burst;
} pra__web_config;

/* Reads text, the content of the file at path_cstr (for messages, and for the paths in it).
 * Everything goes to the arena. 0; PRA_ERR_INVALID_ARG with "FILE:LINE: what is wrong";
 * PRA_ERR_NOMEM. */
int pra__web_config_parse(pra_str text, const char *path_cstr, pra_arena *arena,
                          pra__web_config *out, pra_error *err);

/* door.c: checks the files, of which each may be NULL, as a server would when it starts. */
int pra__door_check(const char *web_config_cstr, const char *tokens_cstr, pra_error *err);

#endif
