/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml makes a tree of the file (with memory of its own); here the tree is held against tables
 * of the fields that there are. */
#include "web_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MOST_FIELDS = 32 };

struct reader {
    yaml_document_t *doc;
    pra_arena *arena;
    const char *path;
    size_t dir_len; /* of path, with its last slash */
    pra_error *err;
};

/* ---- messages */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int fail_at(const struct reader *r, size_t line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int fail_at(const struct reader *r, size_t line, const char *fmt, ...)
{
    char text[sizeof(r->err->message)];
    int n = snprintf(text, sizeof(text), "%.80s:%zu: ", base_name(r->path), line);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, args);
    va_end(args);
    return pra_error_set_cstr(r->err, PRA_ERR_INVALID_ARG, text);
}

static size_t line_of(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}

static int no_memory(const struct reader *r)
{
    return pra_error_set_cstr(r->err, PRA_ERR_NOMEM, "out of memory");
}

/* ---- nodes */

static yaml_node_t *node_at(const struct reader *r, int id)
{
    return yaml_document_get_node(r->doc, id);
}

static bool is_null(const yaml_node_t *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp((const char *)node->data.scalar.value, words[i]) == 0)
            return true;
    return false;
}

/* The text of a scalar, which ends at its first NUL. NULL with err filled if it is none. */
static const char *scalar(const struct reader *r, const yaml_node_t *node, const char *what)
{
    if (node->type != YAML_SCALAR_NODE) {
        (void)fail_at(r, line_of(node), "%s must be one value", what);
        return NULL;
    }
    if (strlen((const char *)node->data.scalar.value) != node->data.scalar.length) {
        (void)fail_at(r, line_of(node), "%s contains a NUL", what);
        return NULL;
    }
    return (const char *)node->data.scalar.value;
}

static void *reserve(const struct reader *r, size_t count, size_t size)
{
    void *at = pra_arena_alloc(r->arena, count ? count * size : 1, 8);
    if (at)
        memset(at, 0, count ? count * size : 1);
    return at;
}

static int copy(const struct reader *r, const char *prefix, size_t prefix_len, const char *text,
                const char **out)
{
    size_t len = strlen(text);
    char *at = reserve(r, prefix_len + len + 1, 1);
    if (!at)
        return no_memory(r);
    if (prefix_len)
        memcpy(at, prefix, prefix_len);
    memcpy(at + prefix_len, text, len);
    *out = at;
    return PRA_OK;
}

/* ---- mappings */

struct field {
    const char *name;
    int (*set)(struct reader *r, const yaml_node_t *node, const char *name, void *out);
    size_t offset; /* of what set writes */
};

static size_t common_prefix(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

static int unknown_field(const struct reader *r, const yaml_node_t *key, const char *where,
                         const struct field *fields, size_t count)
{
    const char *name = (const char *)key->data.scalar.value, *near = NULL;
    size_t best = 2;
    for (size_t i = 0; i < count; i++) {
        size_t n = common_prefix(name, fields[i].name);
        if (n > best) {
            best = n;
            near = fields[i].name;
        }
    }
    if (near)
        return fail_at(r, line_of(key), "unknown field \"%.60s\" in %s; did you mean \"%s\"?", name,
                       where, near);
    return fail_at(r, line_of(key), "unknown field \"%.60s\" in %s: remove it", name, where);
}

static int check_mapping(const struct reader *r, const yaml_node_t *node, const char *where)
{
    if (node->type != YAML_MAPPING_NODE)
        return fail_at(r, line_of(node), "%s must be a mapping (name: value)", where);
    return PRA_OK;
}

/* size bytes for each pair of the mapping where. NULL: r->err says why. */
static void *reserve_pairs(const struct reader *r, const yaml_node_t *node, const char *where,
                           size_t size)
{
    if (check_mapping(r, node, where))
        return NULL;
    void *at =
        reserve(r, (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start), size);
    if (!at)
        (void)no_memory(r);
    return at;
}

static int read_field(struct reader *r, const yaml_node_pair_t *pair, const char *where,
                      const struct field *fields, size_t count, bool *seen, void *base)
{
    const yaml_node_t *key = node_at(r, pair->key), *value = node_at(r, pair->value);
    const char *name = scalar(r, key, "a field's name");
    if (!name)
        return r->err->code;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, name))
            continue;
        if (seen[i])
            return fail_at(r, line_of(key), "\"%s\" is there twice: remove one", name);
        seen[i] = true;
        return is_null(value) ? PRA_OK
                              : fields[i].set(r, value, name, (char *)base + fields[i].offset);
    }
    return unknown_field(r, key, where, fields, count);
}

static int read_mapping(struct reader *r, const yaml_node_t *node, const char *where,
                        const struct field *fields, size_t count, void *base)
{
    bool seen[MOST_FIELDS] = {false};
    int rc = check_mapping(r, node, where);
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; !rc && pair < node->data.mapping.pairs.top; pair++)
        rc = read_field(r, pair, where, fields, count, seen, base);
    return rc;
}

/* ---- values */

/* An empty text is as good as none. */
static int set_text(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    const char *text = scalar(r, node, name);
    if (!text)
        return r->err->code;
    return *text ? copy(r, NULL, 0, text, out) : PRA_OK;
}

static int set_path(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    const char *text = scalar(r, node, name);
    if (!text)
        return r->err->code;
    return *text ? copy(r, r->path, *text == '/' ? 0 : r->dir_len, text, out) : PRA_OK;
}

/* The words of YAML 1.1. */
static int set_bool(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    static const char *const words[] = {
        "true",  "True",  "TRUE",  "yes", "Yes", "YES", "on",  "On",  "ON",  "y", "Y",
        "false", "False", "FALSE", "no",  "No",  "NO",  "off", "Off", "OFF", "n", "N"};
    const char *text = scalar(r, node, name);
    if (!text)
        return r->err->code;
    for (size_t i = 0; i < 22; i++)
        if (strcmp(text, words[i]) == 0) {
            *(bool *)out = i < 11;
            return PRA_OK;
        }
    return fail_at(r, line_of(node), "%s is true or false", name);
}

static int check_list(const struct reader *r, const yaml_node_t *node, const char *name)
{
    if (node->type == YAML_SEQUENCE_NODE)
        return PRA_OK;
    return fail_at(r, line_of(node), "%s must be a list (lines that begin with \"- \")", name);
}

static size_t list_length(const yaml_node_t *node)
{
    return (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
}

static const yaml_node_t *list_item(const struct reader *r, const yaml_node_t *node, size_t i)
{
    return node_at(r, node->data.sequence.items.start[i]);
}

static int set_sans(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    pra__tls_config *tls = out;
    int rc = check_list(r, node, name);
    if (rc)
        return rc;
    tls->client_san_count = list_length(node);
    tls->client_sans = reserve(r, tls->client_san_count, sizeof(*tls->client_sans));
    if (!tls->client_sans)
        return no_memory(r);
    for (size_t i = 0; i < tls->client_san_count && !rc; i++) {
        const char *text = scalar(r, list_item(r, node, i), "a name");
        rc = text ? copy(r, NULL, 0, text, &tls->client_sans[i]) : r->err->code;
    }
    return rc;
}

/* The number of the word that the node holds. */
static int set_word(struct reader *r, const yaml_node_t *node, const char *name,
                    const char *const *words, size_t count, size_t *out)
{
    char known[160];
    size_t at = 0;
    const char *text = scalar(r, node, name);
    if (!text)
        return r->err->code;
    for (*out = 0; *out < count; (*out)++)
        if (strcmp(words[*out], text) == 0)
            return PRA_OK;
    for (size_t i = 0; i < count && at < sizeof(known); i++)
        at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "", words[i]);
    return fail_at(r, line_of(node), "unknown %s \"%.40s\": it is one of %s", name, text, known);
}

static int set_version(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    static const char *const words[] = {"TLS10", "TLS11", "TLS12", "TLS13"};
    size_t number = 0;
    int rc = set_word(r, node, name, words, 4, &number);
    if (!rc)
        *(enum pra__tls_version *)out = (enum pra__tls_version)number;
    return rc;
}

static int set_client_auth(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    /* the last one is an old name of the third */
    static const char *const words[] = {"NoClientCert",
                                        "RequestClientCert",
                                        "RequireAnyClientCert",
                                        "VerifyClientCertIfGiven",
                                        "RequireAndVerifyClientCert",
                                        "RequireClientCert"};
    size_t number = 0;
    if (node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0)
        return PRA_OK;
    int rc = set_word(r, node, name, words, 6, &number);
    if (!rc)
        *(enum pra__client_auth *)out =
            number == 5 ? PRA__REQUIRE_ANY_CLIENT_CERT : (enum pra__client_auth)number;
    return rc;
}

/* Those that Go calls secure. The names of TLS 1.3 are known and change nothing, as in Go. */
static const pra__suite suites[] = {
    {"TLS_AES_128_GCM_SHA256", NULL, false},
    {"TLS_AES_256_GCM_SHA384", NULL, false},
    {"TLS_CHACHA20_POLY1305_SHA256", NULL, false},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "AES-128-CBC", true},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "AES-256-CBC", true},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "AES-128-CBC", false},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "AES-256-CBC", false},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "AES-128-GCM", true},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "AES-256-GCM", true},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "AES-128-GCM", false},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "AES-256-GCM", false},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305", false},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305", true},
};

static const pra__suite *find_suite(const char *name)
{
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
        if (strcmp(suites[i].name, name) == 0)
            return &suites[i];
    return NULL;
}

static bool has_suite(const pra__tls_config *tls, const pra__suite *suite)
{
    for (size_t i = 0; i < tls->suite_count; i++)
        if (tls->suites[i] == suite)
            return true;
    return false;
}

static int set_suites(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    pra__tls_config *tls = out;
    int rc = check_list(r, node, name);
    for (size_t i = 0; !rc && i < list_length(node); i++) {
        const yaml_node_t *item = list_item(r, node, i);
        const char *text = scalar(r, item, "a cipher suite");
        if (!text)
            return r->err->code;
        const pra__suite *suite = find_suite(text);
        if (!suite)
            return fail_at(r, line_of(item),
                           "unknown cipher \"%.60s\": only the suites that Go's "
                           "crypto/tls.CipherSuites() lists are supported",
                           text);
        tls->suites_given = true;
        if (suite->cipher && !has_suite(tls, suite))
            tls->suites[tls->suite_count++] = suite;
    }
    return rc;
}

static int set_curves(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    static const char *const words[] = {"CurveP256", "CurveP384", "CurveP521", "X25519"};
    static const char *const groups[] = {"SECP256R1", "SECP384R1", "SECP521R1", "X25519"};
    pra__tls_config *tls = out;
    int rc = check_list(r, node, name);
    for (size_t i = 0; !rc && i < list_length(node); i++) {
        size_t number = 0, known = 0;
        rc = set_word(r, list_item(r, node, i), "curve", words, 4, &number);
        while (!rc && known < tls->curve_count && tls->curves[known] != groups[number])
            known++;
        if (!rc && known == tls->curve_count)
            tls->curves[tls->curve_count++] = groups[number];
    }
    return rc;
}

static int set_header(struct reader *r, const yaml_node_t *key, const yaml_node_t *value,
                      pra__web_header *out)
{
    static const char *const names[] = {"Strict-Transport-Security", "X-Content-Type-Options",
                                        "X-Frame-Options", "X-XSS-Protection",
                                        "Content-Security-Policy"};
    size_t number = 0;
    int rc = set_word(r, key, "header", names, 5, &number);
    const char *text = rc ? NULL : scalar(r, value, names[number]);
    if (!text)
        return r->err->code;
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7F)
            return fail_at(r, line_of(value), "%s contains a control character", names[number]);
    if (number == 1 && strcmp(text, "nosniff"))
        return fail_at(r, line_of(value), "%s is \"nosniff\"", names[number]);
    if (number == 2 && strcmp(text, "deny") && strcmp(text, "sameorigin"))
        return fail_at(r, line_of(value), "%s is \"deny\" or \"sameorigin\"", names[number]);
    out->name = names[number];
    return copy(r, NULL, 0, text, &out->value);
}

static int set_headers(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    pra__web_config *config = out;
    int rc = PRA_OK;
    config->headers = reserve_pairs(r, node, name, sizeof(*config->headers));
    if (!config->headers)
        return r->err->code;
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; !rc && pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = node_at(r, pair->key);
        pra__web_header *header = &config->headers[config->header_count];
        rc = set_header(r, key, node_at(r, pair->value), header);
        for (size_t i = 0; !rc && i < config->header_count; i++)
            if (config->headers[i].name == header->name)
                rc = fail_at(r, line_of(key), "\"%s\" is there twice: remove one", header->name);
        config->header_count += !rc && *header->value; /* an empty one is none */
    }
    return rc;
}

/* "$2y$10$" and 53 characters of bcrypt's own base64. */
static bool is_bcrypt(const char *hash)
{
    static const char base64[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    if (strlen(hash) != 60 || memcmp(hash, "$2", 2) || !strchr("aby", hash[2]) || hash[3] != '$' ||
        hash[6] != '$' || strspn(hash + 7, base64) != 53)
        return false;
    if (strspn(hash + 4, "0123456789") != 2)
        return false;
    int cost = (hash[4] - '0') * 10 + hash[5] - '0';
    return cost >= 4 && cost <= 31;
}

static int set_user(struct reader *r, const yaml_node_t *key, const yaml_node_t *value,
                    pra__user *out)
{
    const char *name = scalar(r, key, "a user's name");
    const char *hash = name ? scalar(r, value, "a password") : NULL;
    if (!hash)
        return r->err->code;
    if (strchr(name, ':'))
        return fail_at(r, line_of(key), "a user's name cannot contain a colon");
    if (!is_bcrypt(hash))
        return fail_at(r, line_of(value),
                       "the password of \"%.40s\" is not a bcrypt hash: make one with `htpasswd "
                       "-nBC 10 \"\"`",
                       name);
    int rc = copy(r, NULL, 0, name, &out->name);
    return rc ? rc : copy(r, NULL, 0, hash, &out->hash);
}

static int set_users(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    pra__web_config *config = out;
    int rc = PRA_OK;
    config->users = reserve_pairs(r, node, name, sizeof(*config->users));
    if (!config->users)
        return r->err->code;
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; !rc && pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = node_at(r, pair->key);
        pra__user *user = &config->users[config->user_count];
        rc = set_user(r, key, node_at(r, pair->value), user);
        for (size_t i = 0; !rc && i < config->user_count; i++)
            if (strcmp(config->users[i].name, user->name) == 0)
                rc = fail_at(r, line_of(key), "\"%.40s\" is there twice: remove one", user->name);
        config->user_count += !rc;
    }
    return rc;
}

/* A number with digits behind the point at *text, which moves behind it. */
static double take_decimal(const char **text)
{
    double value = 0, scale = 1;
    bool behind = false, any = false;
    const char *p = *text;
    for (; (*p >= '0' && *p <= '9') || (*p == '.' && !behind); p++) {
        if (*p == '.') {
            behind = true;
            continue;
        }
        any = true;
        value = value * 10 + (*p - '0');
        scale = behind ? scale * 10 : 1;
    }
    if (any)
        *text = p;
    return value / scale;
}

/* As Go writes durations: "1s", "1m30s", "1.5s"; a bare number is nanoseconds. */
static int set_duration(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1},   {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3},
                 {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},        {"h", 3600e9}};
    const char *text = scalar(r, node, name), *p = text;
    double total = 0;
    if (!text)
        return r->err->code;
    bool bare = *p && strspn(p, "0123456789") == strlen(p);
    while (p && *p && !bare) {
        const char *before = p;
        double value = take_decimal(&p);
        size_t unit = 0;
        while (unit < 8 && strncmp(p, units[unit].name, strlen(units[unit].name)))
            unit++;
        if (p == before || unit == 8)
            break;
        total += value * units[unit].ns;
        p += strlen(units[unit].name);
    }
    if (bare)
        total = strtod(p, NULL);
    else if (!*text || *p)
        return fail_at(r, line_of(node), "%s is a duration such as 1s, 100ms or 1m30s", name);
    *(uint64_t *)out = total > 9e18 ? UINT64_C(9000000000000000000) : (uint64_t)total;
    return PRA_OK;
}

static int set_count(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    const char *text = scalar(r, node, name);
    if (!text)
        return r->err->code;
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 9)
        return fail_at(r, line_of(node), "%s is a number of requests", name);
    *(uint64_t *)out = strtoul(text, NULL, 10);
    return PRA_OK;
}

/* ---- sections */

static int set_tls(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    static const struct field fields[] = {
        {"cert", set_text, offsetof(pra__tls_config, cert)},
        {"key", set_text, offsetof(pra__tls_config, key)},
        {"client_ca", set_text, offsetof(pra__tls_config, client_ca)},
        {"cert_file", set_path, offsetof(pra__tls_config, cert_file)},
        {"key_file", set_path, offsetof(pra__tls_config, key_file)},
        {"client_auth_type", set_client_auth, offsetof(pra__tls_config, client_auth)},
        {"client_ca_file", set_path, offsetof(pra__tls_config, client_ca_file)},
        {"client_allowed_sans", set_sans, 0},
        {"min_version", set_version, offsetof(pra__tls_config, min_version)},
        {"max_version", set_version, offsetof(pra__tls_config, max_version)},
        {"cipher_suites", set_suites, 0},
        {"curve_preferences", set_curves, 0},
        {"prefer_server_cipher_suites", set_bool, offsetof(pra__tls_config, prefer_server)},
    };
    pra__tls_config *tls = out;
    tls->line = (uint32_t)line_of(node);
    return read_mapping(r, node, name, fields, sizeof(fields) / sizeof(fields[0]), tls);
}

static int set_http(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    static const struct field fields[] = {{"http2", set_bool, offsetof(pra__web_config, http2)},
                                          {"headers", set_headers, 0}};
    return read_mapping(r, node, name, fields, 2, out);
}

static int set_rate(struct reader *r, const yaml_node_t *node, const char *name, void *out)
{
    static const struct field fields[] = {
        {"interval", set_duration, offsetof(pra__web_config, rate_interval_ns)},
        {"burst", set_count, offsetof(pra__web_config, rate_burst)}};
    pra__web_config *config = out;
    int rc = read_mapping(r, node, name, fields, 2, out);
    if (!rc && config->rate_interval_ns && config->rate_burst == 0)
        return fail_at(r, line_of(node),
                       "with a burst of 0 no request is answered: set it to at "
                       "least 1, or interval to 0 for no limit");
    return rc;
}

static int read_root(struct reader *r, const yaml_node_t *root, pra__web_config *out)
{
    static const struct field fields[] = {
        {"tls_server_config", set_tls, offsetof(pra__web_config, tls)},
        {"http_server_config", set_http, 0},
        {"rate_limit", set_rate, 0},
        {"basic_auth_users", set_users, 0},
    };
    return read_mapping(r, root, "the file", fields, 4, out);
}

/* ---- what must hold between fields */

static int check_tls(const struct reader *r, pra__tls_config *tls)
{
    bool ca = tls->client_ca || tls->client_ca_file;
    if (!tls->cert && !tls->cert_file && !tls->key && !tls->key_file && !ca && !tls->client_auth)
        return PRA_OK; /* no TLS */
    tls->present = true;
    if (!tls->cert && !tls->cert_file)
        return fail_at(r, tls->line, "tls_server_config has no certificate: add cert_file");
    if (!tls->key && !tls->key_file)
        return fail_at(r, tls->line, "tls_server_config has no key: add key_file");
    if (ca && tls->client_auth == PRA__NO_CLIENT_CERT)
        return fail_at(r, tls->line,
                       "there is a client CA, but client certificates are not asked "
                       "for: add client_auth_type: RequireAndVerifyClientCert");
    if (!ca && tls->client_auth >= PRA__VERIFY_IF_GIVEN)
        return fail_at(r, tls->line,
                       "client certificates cannot be verified without a client CA: "
                       "add client_ca_file");
    if (tls->client_sans && tls->client_auth == PRA__NO_CLIENT_CERT)
        return fail_at(r, tls->line,
                       "client_allowed_sans needs client certificates: add "
                       "client_auth_type: RequireAndVerifyClientCert");
    if (tls->min_version > tls->max_version)
        return fail_at(r, tls->line, "min_version is above max_version");
    return PRA_OK;
}

/* ---- the file */

static int parse_error(const struct reader *r, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return no_memory(r);
    size_t line = parser->problem_mark.line + 1;
    return fail_at(r, line, "not YAML: %s", parser->problem ? parser->problem : "unreadable");
}

static bool open_parser(yaml_parser_t *parser, pra_str text)
{
    if (!yaml_parser_initialize(parser))
        return false;
    yaml_parser_set_input_string(parser, (const unsigned char *)(text.len ? text.ptr : ""),
                                 text.len);
    return true;
}

static bool has_anchor(const yaml_event_t *e)
{
    return e->type == YAML_ALIAS_EVENT || (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor) ||
           (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor) ||
           (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor);
}

/* libyaml takes quadratic time for depth and for anchors, minutes for what is within our 1 MiB.
 * Other faults are left to whoever loads the document. */
static int check_shape(const struct reader *r, pra_str text)
{
    enum { MOST_DEPTH = 32, MOST_ANCHORS = 1000 };
    yaml_parser_t parser;
    yaml_event_t event;
    int depth = 0, anchors = 0;
    bool end = false;
    size_t line = 0;
    if (!open_parser(&parser, text))
        return no_memory(r);
    while (!end && depth <= MOST_DEPTH && anchors <= MOST_ANCHORS &&
           yaml_parser_parse(&parser, &event)) {
        depth += event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
        depth -= event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        anchors += has_anchor(&event);
        line = event.start_mark.line + 1;
        end = event.type == YAML_DOCUMENT_END_EVENT || event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (depth > MOST_DEPTH)
        return fail_at(r, line, "nested too deeply");
    return anchors > MOST_ANCHORS ? fail_at(r, line, "too many anchors and aliases") : PRA_OK;
}

int pra__web_config_parse(pra_str text, const char *path_cstr, pra_arena *arena,
                          pra__web_config *out, pra_error *err)
{
    pra_error own = {0};
    yaml_parser_t parser;
    yaml_document_t doc;
    const char *base = base_name(path_cstr);
    struct reader r = {&doc, arena, path_cstr, (size_t)(base - path_cstr), err ? err : &own};
    *out = (pra__web_config){
        .tls = {.min_version = PRA__TLS12, .max_version = PRA__TLS13, .prefer_server = true}};
    int rc = check_shape(&r, text);
    if (rc)
        return rc;
    if (!open_parser(&parser, text))
        return no_memory(&r);
    if (!yaml_parser_load(&parser, &doc)) {
        rc = parse_error(&r, &parser);
    } else {
        const yaml_node_t *root = yaml_document_get_root_node(&doc);
        if (root && !is_null(root)) /* an empty file switches nothing on */
            rc = read_root(&r, root, out);
        if (!rc)
            rc = check_tls(&r, &out->tls);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    return rc;
}
