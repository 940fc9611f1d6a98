/* SPDX-License-Identifier: Apache-2.0 */
/* The files of --web.config.file and --web.bearer-token-file, read again when they change. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    FILES = 5, /* configuration, tokens, certificate, key, client CA */
    PATH_BYTES = 1024,
    FILE_BYTES = 1 << 20,
    RULES_BYTES = 16 << 20
};

/* A file changed twice within the grain of its times looks unchanged the second time. So what is
 * younger than this when it is read, is read again at the next look. */
#define SETTLED_NS (INT64_C(2) * 1000000000)

/* One file as it was when it was read. */
struct stamp {
    char path[PATH_BYTES];
    struct stat as;
    int failed; /* errno of stat */
    bool young;
};

struct pra__door {
    pra_alloc alloc;
    pra_log log;
    char config_path[PATH_BYTES], tokens_path[PATH_BYTES]; /* "" = none */
    pra__auth auth;
    bool has_tls;

    pthread_mutex_t lock; /* for all below */
    pra__rules *current;
    struct stamp stamps[FILES]; /* of the last attempt to read */
    size_t stamp_count;
    bool is_current;
    char said[240]; /* the last error that was logged */
    double tokens;  /* of the rate limit */
    uint64_t filled_us;
};

/* ---- files */

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void take_stamp(struct stamp *s)
{
    s->failed = stat(s->path, &s->as) ? errno : 0;
    int64_t changed = (int64_t)s->as.st_mtim.tv_sec * 1000000000 + s->as.st_mtim.tv_nsec;
    int64_t age = now_ns() - changed;
    s->young = !s->failed && age < SETTLED_NS && age > -SETTLED_NS;
}

static bool is_same(const struct stamp *s)
{
    struct stat as;
    int failed = stat(s->path, &as) ? errno : 0;
    if (failed || s->failed)
        return failed == s->failed;
    return as.st_dev == s->as.st_dev && as.st_ino == s->as.st_ino && as.st_size == s->as.st_size &&
           as.st_mtim.tv_sec == s->as.st_mtim.tv_sec && as.st_mtim.tv_nsec == s->as.st_mtim.tv_nsec;
}

static int cannot_read(pra_error *err, const char *path, const char *why)
{
    char text[240];
    (void)snprintf(text, sizeof(text), "cannot read %.120s: %s", path, why);
    return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, text);
}

static int read_all(int fd, const struct stamp *s, pra_arena *arena, pra_str *out, pra_error *err)
{
    struct stat as;
    if (fstat(fd, &as))
        return cannot_read(err, s->path, strerror(errno));
    if (S_ISFIFO(as.st_mode))
        return cannot_read(err, s->path, "it is a pipe");
    size_t len = 0, cap = S_ISREG(as.st_mode) ? (size_t)as.st_size + 1 : 64 << 10;
    if (cap > FILE_BYTES)
        return cannot_read(err, s->path, "it is larger than 1 MiB");
    char *text = pra_arena_alloc(arena, cap, 1);
    if (!text)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    for (;;) {
        ssize_t n = read(fd, text + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cannot_read(err, s->path, strerror(errno));
        len += (size_t)n;
        if (len == cap)
            return cannot_read(err, s->path, "it grows while it is read");
        if (n == 0)
            break;
    }
    *out = (pra_str){text, len};
    return PRA_OK;
}

/* Reads a file, which is watched from then on. */
static int read_file(pra__door *d, const char *path, pra_arena *arena, pra_str *out, pra_error *err)
{
    struct stamp *s = &d->stamps[d->stamp_count];
    if (strlen(path) >= sizeof(s->path))
        return cannot_read(err, path, "the path is too long");
    memcpy(s->path, path, strlen(path) + 1);
    take_stamp(s); /* before it is read: what changes now is seen at the next look */
    d->stamp_count++;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold up everybody */
    if (fd < 0)
        return cannot_read(err, path, strerror(errno));
    int rc = read_all(fd, s, arena, out, err);
    (void)close(fd);
    return rc;
}

/* ---- the file of tokens: one per line, a name before it if wanted, # begins a comment */

static pra_str take_word(pra_str *line)
{
    pra_str word = *line;
    while (word.len && (*word.ptr == ' ' || *word.ptr == '\t'))
        word.ptr++, word.len--;
    size_t len = 0;
    while (len < word.len && word.ptr[len] != ' ' && word.ptr[len] != '\t')
        len++;
    *line = (pra_str){word.ptr + len, word.len - len};
    word.len = len;
    return word;
}

static pra_str take_line(pra_str *text)
{
    const char *end = memchr(text->ptr, '\n', text->len);
    pra_str line = {text->ptr, end ? (size_t)(end - text->ptr) : text->len};
    size_t used = line.len + (end != NULL);
    *text = (pra_str){text->ptr + used, text->len - used};
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    return line;
}

static int bad_line(pra_error *err, const char *path, size_t number, const char *why)
{
    char text[344]; /* all of the longest of each; the error cuts it */
    const char *slash = strrchr(path, '/');
    (void)snprintf(text, sizeof(text), "%.80s:%zu: %s", slash ? slash + 1 : path, number, why);
    return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, text);
}

/* 0 with token->name NULL for a line without a token. */
static int read_token(pra__door *d, pra_str line, size_t number, pra_arena *arena,
                      pra__token *token, pra_error *err)
{
    char value[4096];
    pra__authorization parsed;
    pra_str first = take_word(&line), second = take_word(&line), rest = take_word(&line);
    token->name = NULL;
    if (first.len == 0 || *first.ptr == '#')
        return PRA_OK;
    pra_str name = second.len ? first : (pra_str){"", 0}, secret = second.len ? second : first;
    int n = snprintf(value, sizeof(value), "Bearer %.*s", (int)(secret.len & 0xFFFF), secret.ptr);
    if (rest.len)
        return bad_line(err, d->tokens_path, number, "a line is a token, or a name and a token");
    if ((size_t)n >= sizeof(value) ||
        !pra__authorization_parse((pra_str){value, (size_t)n}, &parsed) ||
        parsed.secret.len != secret.len)
        return bad_line(err, d->tokens_path, number,
                        "a token consists of letters, digits and -._~+/ with = at its end: make "
                        "one with `openssl rand -hex 32`");
    char *copy = pra_arena_alloc(arena, name.len + 1, 1);
    if (!copy)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    memcpy(copy, name.ptr, name.len);
    copy[name.len] = 0;
    token->name = copy;
    pra__auth_token_tag(&d->auth, secret, token->tag);
    return PRA_OK;
}

static int read_tokens(pra__door *d, pra__rules *rules, pra_error *err)
{
    pra_str text;
    int rc = read_file(d, d->tokens_path, rules->arena, &text, err);
    if (rc)
        return rc;
    size_t most = 1;
    for (size_t i = 0; i < text.len; i++)
        most += text.ptr[i] == '\n';
    pra__token *tokens = pra_arena_alloc(rules->arena, most * sizeof(*tokens), 8);
    if (!tokens)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    for (size_t number = 1; text.len && !rc; number++) {
        pra__token *token = &tokens[rules->token_count];
        rc = read_token(d, take_line(&text), number, rules->arena, token, err);
        rules->token_count += !rc && token->name;
    }
    rules->tokens = tokens;
    if (!rc && rules->token_count == 0)
        return bad_line(err, d->tokens_path, 1,
                        "there is no token: make one with `openssl rand -hex 32`");
    return rc;
}

/* ---- rules */

/* Both given: the file counts, as in Prometheus. */
static int read_pem(pra__door *d, const char *file, const char *text, pra_arena *arena,
                    pra_str *out, pra_error *err)
{
    if (file)
        return read_file(d, file, arena, out, err);
    *out = text ? (pra_str){text, strlen(text)} : (pra_str){"", 0};
    return PRA_OK;
}

/* A message about certificates gets the place of their section. */
static int at_tls(const pra__door *d, const pra__rules *rules, int rc, pra_error *err)
{
    char text[240];
    if (rc != PRA_ERR_INVALID_ARG)
        return rc;
    (void)snprintf(text, sizeof(text), "tls_server_config: %.200s", err->message);
    return bad_line(err, d->config_path, rules->config.tls.line, text);
}

static int read_tls(pra__door *d, pra__rules *rules, pra_error *err)
{
    const pra__tls_config *c = &rules->config.tls;
    pra__tls_files files;
    int rc = read_pem(d, c->cert_file, c->cert, rules->arena, &files.cert, err);
    if (!rc)
        rc = read_pem(d, c->key_file, c->key, rules->arena, &files.key, err);
    if (!rc)
        rc = read_pem(d, c->client_ca_file, c->client_ca, rules->arena, &files.client_ca, err);
    if (!rc)
        rc = pra__tls_init(&rules->tls, c, &files, err);
    if (rc)
        return at_tls(d, rules, rc, err);
    rules->has_tls = true;
    return PRA_OK;
}

/* Whether the rules of this moment may be followed by these. A file that is being written looks
 * like one that asks nobody. */
static int check_change(const pra__door *d, const pra__rules *rules, pra_error *err)
{
    const pra__rules *now = d->current;
    if (!now)
        return PRA_OK;
    if (rules->has_tls != d->has_tls)
        return bad_line(err, d->config_path, 1,
                        d->has_tls ? "TLS cannot be switched off while the server runs: restart it"
                                   : "TLS cannot be switched on while the server runs: restart it");
    if (pra__rules_ask(now) && !pra__rules_ask(rules))
        return bad_line(err, d->config_path, 1,
                        "passwords cannot be switched off while the server runs: restart it");
    if (pra__tls_needs_client(&now->config.tls) && !pra__tls_needs_client(&rules->config.tls))
        return bad_line(err, d->config_path, 1,
                        "client certificates cannot be switched off while the server runs: restart "
                        "it");
    return PRA_OK;
}

static int read_rules(pra__door *d, pra__rules *rules, pra_error *err)
{
    pra_str text;
    int rc = PRA_OK;
    d->stamp_count = 0;
    if (d->config_path[0]) {
        rc = read_file(d, d->config_path, rules->arena, &text, err);
        if (!rc)
            rc = pra__web_config_parse(text, d->config_path, rules->arena, &rules->config, err);
        if (!rc && rules->config.tls.present)
            rc = read_tls(d, rules, err);
    }
    if (d->tokens_path[0] && !rc)
        rc = read_tokens(d, rules, err);
    return rc ? rc : check_change(d, rules, err);
}

void pra__rules_release(pra__rules *rules, const pra_alloc *alloc)
{
    if (!rules || atomic_fetch_sub(&rules->refs, 1) != 1)
        return;
    if (rules->has_tls)
        pra__tls_fini(&rules->tls);
    pra_arena_free(rules->arena);
    (void)alloc->fn(alloc->ctx, rules, sizeof(*rules), 0);
}

static int load(pra__door *d, pra__rules **out, pra_error *err)
{
    pra__rules *rules = d->alloc.fn(d->alloc.ctx, NULL, 0, sizeof(*rules));
    if (!rules)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    memset(rules, 0, sizeof(*rules));
    atomic_init(&rules->refs, 1);
    int rc = pra_arena_new(&d->alloc, RULES_BYTES, &rules->arena);
    if (rc)
        (void)pra_error_set_cstr(err, rc, "out of memory");
    else
        rc = read_rules(d, rules, err);
    if (!rc)
        *out = rules;
    else
        pra__rules_release(rules, &d->alloc);
    return rc;
}

/* ---- looking again */

static void install(pra__door *d, pra__rules *next)
{
    pra__auth_carry(&d->auth, &d->current->config, &next->config);
    pra__rules_release(d->current, &d->alloc);
    d->current = next;
    if (!d->is_current)
        pra__log_write(&d->log, PRA_LOG_INFO, "the web configuration is good again", NULL);
    d->is_current = true;
    d->said[0] = 0;
}

static void complain(pra__door *d, const pra_error *err)
{
    char quoted[300] = "";
    d->is_current = false;
    if (strcmp(d->said, err->message) == 0)
        return;
    (void)snprintf(d->said, sizeof(d->said), "%s", err->message);
    (void)pra__log_value(quoted, sizeof(quoted), 0, err->message, strlen(err->message));
    pra__log_write(&d->log, PRA_LOG_ERROR,
                   "the web configuration cannot be used; the one before stays in force", "err=%s",
                   quoted);
}

/* d->lock is held. */
static void look(pra__door *d)
{
    bool same = true;
    for (size_t i = 0; i < d->stamp_count && same; i++)
        same = !d->stamps[i].young && is_same(&d->stamps[i]);
    if (same)
        return;
    pra__rules *next = NULL;
    pra_error err = {0};
    int rc = load(d, &next, &err);
    if (rc)
        complain(d, &err);
    else
        install(d, next);
    if (rc == PRA_ERR_NOMEM && d->stamp_count)
        d->stamps[0].young = true; /* nothing is wrong with the files: try again */
}

pra__rules *pra__door_rules(pra__door *door)
{
    pthread_mutex_lock(&door->lock);
    look(door);
    pra__rules *rules = door->current;
    atomic_fetch_add(&rules->refs, 1);
    pthread_mutex_unlock(&door->lock);
    return rules;
}

bool pra__door_has_tls(const pra__door *door)
{
    return door && door->has_tls;
}

bool pra__door_is_current(pra__door *door)
{
    pthread_mutex_lock(&door->lock);
    look(door);
    bool is = door->is_current;
    pthread_mutex_unlock(&door->lock);
    return is;
}

/* ---- making */

static int make(pra__door *d, const char *web_config, const char *tokens, pra_error *err)
{
    if ((web_config && strlen(web_config) >= PATH_BYTES) ||
        (tokens && strlen(tokens) >= PATH_BYTES))
        return cannot_read(err, web_config ? web_config : tokens, "the path is too long");
    (void)snprintf(d->config_path, sizeof(d->config_path), "%s", web_config ? web_config : "");
    (void)snprintf(d->tokens_path, sizeof(d->tokens_path), "%s", tokens ? tokens : "");
    int rc = load(d, &d->current, err);
    if (rc)
        return rc;
    d->has_tls = d->current->has_tls;
    d->is_current = true;
    d->tokens = (double)d->current->config.rate_burst;
    d->filled_us = pra__now_us();
    return PRA_OK;
}

int pra__door_new(const pra_alloc *alloc, const pra_log *log, const char *web_config_cstr,
                  const char *tokens_cstr, pra__door **out, pra_error *err)
{
    pra__door *d = alloc->fn(alloc->ctx, NULL, 0, sizeof(*d));
    if (!d)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    memset(d, 0, sizeof(*d));
    d->alloc = *alloc;
    d->log = *log;
    int rc = pra__auth_init(&d->auth, &d->alloc);
    if (rc) {
        (void)alloc->fn(alloc->ctx, d, sizeof(*d), 0);
        return pra_error_set_cstr(err, rc, pra_strerror(rc));
    }
    (void)pthread_mutex_init(&d->lock, NULL);
    rc = make(d, web_config_cstr, tokens_cstr, err);
    if (rc)
        pra__door_free(d);
    else
        *out = d;
    return rc;
}

void pra__door_free(pra__door *door)
{
    if (!door)
        return;
    pra_alloc a = door->alloc;
    pra__rules_release(door->current, &a);
    (void)pthread_mutex_destroy(&door->lock);
    pra__auth_fini(&door->auth);
    (void)a.fn(a.ctx, door, sizeof(*door), 0);
}

int pra__door_check(const char *web_config_cstr, const char *tokens_cstr, pra_error *err)
{
    static const pra_log silent = {NULL, NULL};
    pra__door *door = NULL;
    int rc = pra__door_new(pra_alloc_libc(), &silent, web_config_cstr, tokens_cstr, &door, err);
    pra__door_free(door);
    return rc;
}

/* ---- the decision */

/* One request from a bucket that fills at the rate of the configuration. */
static bool take_turn(pra__door *d, const pra__web_config *config)
{
    if (config->rate_interval_ns == 0)
        return true;
    pthread_mutex_lock(&d->lock);
    uint64_t now = pra__now_us();
    d->tokens += (double)(now - d->filled_us) * 1000 / (double)config->rate_interval_ns;
    d->filled_us = now;
    if (d->tokens > (double)config->rate_burst)
        d->tokens = (double)config->rate_burst;
    bool turn = d->tokens >= 1;
    d->tokens -= turn;
    pthread_mutex_unlock(&d->lock);
    return turn;
}

bool pra__rules_ask(const pra__rules *rules)
{
    return rules->config.user_count || rules->token_count;
}

/* false: there is more than one. */
static bool find_header(const pra_header *headers, size_t count, pra_str *out)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        if (headers[i].name.len == 13 &&
            strncasecmp(headers[i].name.ptr, "authorization", 13) == 0) {
            *out = headers[i].value;
            found++;
        }
    return found <= 1;
}

static enum pra__verdict check(pra__door *d, pra__rules *rules, const pra__authorization *a,
                               const pra__place *place, pra_str *user)
{
    if (a->scheme == PRA__BEARER) {
        const pra__token *token =
            pra__auth_token(&d->auth, rules->tokens, rules->token_count, a->secret);
        if (token)
            *user = (pra_str){token->name, strlen(token->name)};
        return token ? PRA__RIGHT : PRA__WRONG_SECRET;
    }
    const pra__user *found = NULL;
    enum pra__verdict verdict =
        rules->config.user_count
            ? pra__auth_password(&d->auth, &rules->config, a->user, a->secret, place, &found)
            : PRA__WRONG_SECRET;
    if (verdict == PRA__RIGHT)
        *user = (pra_str){found->name, strlen(found->name)};
    return verdict;
}

bool pra__door_admits(pra__door *door, pra__rules *rules, const pra_header *headers, size_t count,
                      const pra__place *place, pra_str *user, pra__refusal *why)
{
    pra__authorization authorization;
    pra_str value = {NULL, 0};
    *user = (pra_str){"", 0};
    *why = (pra__refusal){401, "auth", "wrong user name, password or token"};
    if (!take_turn(door, &rules->config)) {
        *why = (pra__refusal){429, "rate", "too many requests: try again later"};
        return false;
    }
    if (!pra__rules_ask(rules))
        return true;
    if (!find_header(headers, count, &value)) {
        why->message = "more than one Authorization header";
        return false;
    }
    if (!value.ptr) {
        why->message = "this server wants to know who you are: set basic_auth or authorization in "
                       "remote_write and remote_read";
        return false;
    }
    if (!pra__authorization_parse(value, &authorization)) {
        why->message = "the Authorization header is neither Basic nor Bearer";
        return false;
    }
    enum pra__verdict verdict = check(door, rules, &authorization, place, user);
    if (verdict == PRA__CHECK_LATER)
        *why = (pra__refusal){503, "auth_busy", "too many passwords to check: try again later"};
    gnutls_memset(authorization.buf, 0, sizeof(authorization.buf));
    return verdict == PRA__RIGHT;
}
