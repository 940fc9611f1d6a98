/* SPDX-License-Identifier: Apache-2.0 */
/* A server on a free port over a storage with a gate, for the tests of libpra_server. Nothing here
 * measures time: a guard in the client ends a test that hangs. */
#ifndef TESTS_UNIT_SERVER_FIXTURE_H
#define TESTS_UNIT_SERVER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pra_server.h"
#include "server/internal.h"
#include "support/http_client.h"

#define PROTO "Content-Type: application/x-protobuf\r\n"

/* up 1 @ 1 ms, as a snappy block of one literal. */
static const char write_body[] = "\x1f\x78"
                                 "\x0a\x1d\x0a\x0e\x0a\x08__name__\x12\x02up"
                                 "\x12\x0b\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x01";
enum { WRITE_LEN = sizeof(write_body) - 1 };

/* ---- a storage with a gate: while it is closed, writes wait inside */

struct store {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int closed;
    int inside; /* writes in the storage now */
    int most_inside;
    uint32_t most_worker; /* number seen */
    int samples;
    int destroyed;
    size_t answer_samples; /* per read, or per series that is fetched */
    char remote[64];
    char user[64];

    /* for storages with select and fetch */
    size_t series;
    int held;    /* fetches wait inside */
    int fetches; /* begun */
    int fails;   /* the number of the first fetch that fails; 0: none */
};

static inline int store_write(void *self, const pra_context *ctx, const pra_write_request *request,
                              pra_write_result *result, pra_error *err)
{
    (void)result, (void)err;
    struct store *st = self;
    pra_columns columns = {.size = sizeof(columns)};
    pra_str remote, user;
    pra_write_request_columns(request, &columns);
    pra_context_remote_addr(ctx, &remote);
    pra_context_user(ctx, &user);
    pthread_mutex_lock(&st->lock);
    st->inside++;
    if (st->inside > st->most_inside)
        st->most_inside = st->inside;
    if (pra_context_worker(ctx) > st->most_worker)
        st->most_worker = pra_context_worker(ctx);
    pthread_cond_broadcast(&st->changed);
    while (st->closed)
        pthread_cond_wait(&st->changed, &st->lock);
    st->inside--;
    st->samples += (int)columns.sample_count;
    (void)snprintf(st->remote, sizeof(st->remote), "%.*s", (int)remote.len, remote.ptr);
    (void)snprintf(st->user, sizeof(st->user), "%.*s", (int)user.len, user.len ? user.ptr : "");
    pthread_mutex_unlock(&st->lock);
    return PRA_OK;
}

static inline int store_query(void *self, const pra_context *ctx, const pra_query *query,
                              pra_series_sink *sink, pra_error *err)
{
    (void)ctx, (void)query;
    struct store *st = self;
    const pra_label name = {{"__name__", 8}, {"up", 2}};
    int rc = pra_series_sink_begin(sink, &name, 1, err);
    uint64_t noise = 88172645463325252u; /* so that the answer does not compress */
    for (size_t i = 0; i < st->answer_samples && !rc; i++) {
        noise ^= noise << 13, noise ^= noise >> 7, noise ^= noise << 17;
        int64_t t = (int64_t)i;
        double v = (double)noise;
        rc = pra_series_sink_samples(sink, &t, &v, 1, err);
    }
    return rc ? rc : pra_series_sink_end(sink, err);
}

static inline int store_metrics(void *self, pra_buffer *out)
{
    (void)self;
    return pra_buffer_append(out, "store_metric 7\n", 15);
}

static inline void store_destroy(void *self)
{
    ((struct store *)self)->destroyed++;
}

static const pra_storage_vtbl store_vtbl = {.size = sizeof(store_vtbl),
                                            .write = store_write,
                                            .process_query = store_query,
                                            .metrics = store_metrics,
                                            .destroy = store_destroy};

/* ---- the same for storages that list series and give their data when asked */

static inline int store_select(void *self, const pra_context *ctx, const pra_query *query,
                               pra_series_list *list, pra_error *err)
{
    (void)ctx, (void)query;
    struct store *st = self;
    int rc = PRA_OK;
    for (size_t i = 0; i < st->series && !rc; i++) {
        char number[24];
        int len = snprintf(number, sizeof(number), "%06zu", i);
        const pra_label labels[] = {{{"__name__", 8}, {"up", 2}},
                                    {{"i", 1}, {number, (size_t)len}}};
        rc = pra_series_list_add(list, labels, 2, i, err);
    }
    return rc;
}

static inline int enter_fetch(struct store *st, pra_error *err)
{
    pthread_mutex_lock(&st->lock);
    int number = ++st->fetches, fails = st->fails;
    pthread_cond_broadcast(&st->changed);
    while (st->held)
        pthread_cond_wait(&st->changed, &st->lock);
    pthread_mutex_unlock(&st->lock);
    return fails && number >= fails ? pra_error_set_cstr(err, PRA_ERR_IO, "the disk went away")
                                    : PRA_OK;
}

static inline int store_fetch(void *self, const pra_context *ctx, const pra_query *query,
                              uint64_t id, int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    (void)ctx, (void)query;
    struct store *st = self;
    int rc = enter_fetch(st, err);
    uint64_t noise = 88172645463325252u + id;
    for (int64_t t = from_ms; t < (int64_t)st->answer_samples && !rc; t++) {
        noise ^= noise << 13, noise ^= noise >> 7, noise ^= noise << 17;
        double v = (double)noise;
        rc = pra_series_sink_samples(sink, &t, &v, 1, err);
    }
    return rc;
}

static const pra_storage_vtbl fetched_vtbl = {.size = sizeof(fetched_vtbl),
                                              .write = store_write,
                                              .select = store_select,
                                              .fetch = store_fetch,
                                              .destroy = store_destroy};

static inline void hold(struct store *st, int held)
{
    pthread_mutex_lock(&st->lock);
    st->held = held;
    pthread_cond_broadcast(&st->changed);
    pthread_mutex_unlock(&st->lock);
}

static inline void await_fetches(struct store *st, int n)
{
    pthread_mutex_lock(&st->lock);
    while (st->fetches < n)
        pthread_cond_wait(&st->changed, &st->lock);
    pthread_mutex_unlock(&st->lock);
}

static inline int fetches_of(struct store *st)
{
    pthread_mutex_lock(&st->lock);
    int n = st->fetches;
    pthread_mutex_unlock(&st->lock);
    return n;
}

static inline void gate(struct store *st, int closed)
{
    pthread_mutex_lock(&st->lock);
    st->closed = closed;
    pthread_cond_broadcast(&st->changed);
    pthread_mutex_unlock(&st->lock);
}

static inline void await_inside(struct store *st, int n)
{
    pthread_mutex_lock(&st->lock);
    while (st->inside != n)
        pthread_cond_wait(&st->changed, &st->lock);
    pthread_mutex_unlock(&st->lock);
}

/* ---- an allocator that can be told to refuse, from any thread */

static atomic_long allowed = -1; /* allocations until it refuses; negative: never */
static atomic_long live_bytes;

static inline void *test_alloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    if (new_size > old_size && atomic_load(&allowed) >= 0 && atomic_fetch_sub(&allowed, 1) <= 0) {
        atomic_store(&allowed, 0);
        return NULL;
    }
    atomic_fetch_add(&live_bytes, (long)new_size - (long)old_size);
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

/* ---- a running server */

struct fixture {
    struct store store;
    pra_handler *handler;
    pra_server *server;
    uint16_t port;
    pra_limits limits;
    pra_server_opts opts;
    const pra_storage_vtbl *vtbl;
};

static const pra_alloc counted = {NULL, test_alloc};

static inline void prepare(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    pthread_mutex_init(&f->store.lock, NULL);
    pthread_cond_init(&f->store.changed, NULL);
    f->store.answer_samples = 3;
    f->vtbl = &store_vtbl;
    pra_limits_init(&f->limits, sizeof(f->limits));
    pra_server_opts_init(&f->opts, sizeof(f->opts));
    atomic_store(&live_bytes, 0);
    atomic_store(&allowed, -1);
}

/* Listens, and serves nobody until start_server. */
static inline void prepare_server(struct fixture *f)
{
    static const char *const any_port[] = {"127.0.0.1:0"};
    pra_storage storage = {f->vtbl, &f->store};
    pra_handler_opts handler_opts = {.size = sizeof(handler_opts), .limits = &f->limits};
    pra_error err = {0};
    assert_int_equal(pra_handler_new(&counted, &storage, &handler_opts, &f->handler, &err), PRA_OK);
    f->opts.listen_cstr = any_port;
    f->opts.listen_count = 1;
    assert_int_equal(pra_server_new(&counted, f->handler, &f->opts, &f->server, &err), PRA_OK);
    f->port = pra_server_port(f->server, 0);
    assert_int_not_equal(f->port, 0);
}

static inline void start_server(struct fixture *f)
{
    pra_error err = {0};
    assert_int_equal(pra_server_start(f->server, &err), PRA_OK);
}

static inline void start(struct fixture *f)
{
    prepare_server(f);
    start_server(f);
}

static inline void finish(struct fixture *f)
{
    pra_server_free(f->server);
    pra_handler_free(f->handler);
    assert_int_equal(f->store.destroyed, 1);
    assert_int_equal(atomic_load(&live_bytes), 0);
    pthread_mutex_destroy(&f->store.lock);
    pthread_cond_destroy(&f->store.changed);
}

static inline void start_default(struct fixture *f)
{
    prepare(f);
    start(f);
}

/* Reads an answer, forgets its body and returns its status. */
static inline int status_of(struct http_client *c)
{
    struct http_answer a;
    http_read(c, &a, 0);
    free(a.body);
    return a.status;
}

static inline int post(struct http_client *c, const void *body, size_t len)
{
    if (!http_post(c, "/api/v1/write", PROTO, body, len))
        return 0;
    return status_of(c);
}

/* One write on a connection of its own. */
static inline int post_alone(const struct fixture *f)
{
    struct http_client c;
    http_open(&c, f->port);
    int status = post(&c, write_body, WRITE_LEN);
    http_close(&c);
    return status;
}

/* The answer to raw bytes on a connection of their own, which is then closed. */
static inline int raw(const struct fixture *f, const char *text)
{
    struct http_client c;
    http_open(&c, f->port);
    (void)http_send_text(&c, text);
    int status = status_of(&c);
    http_close(&c);
    return status;
}

static inline struct http_answer get(const struct fixture *f, const char *method, const char *path)
{
    char text[256];
    struct http_client c;
    struct http_answer a;
    http_open(&c, f->port);
    (void)snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: my.host:1\r\n\r\n", method, path);
    (void)http_send_text(&c, text);
    http_read(&c, &a, strcmp(method, "HEAD") == 0);
    http_close(&c);
    return a;
}

static inline void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* Waits until the server has this many connections, without one more to ask by: that one would have
 * to keep the server's deadlines too. */
static inline void await_connections(const struct fixture *f, uint64_t n)
{
    while (atomic_load(&f->server->metrics.connections) != n)
        pause_ms(1);
}

/* An answer can be read before the server has done with its request: waits until it has. */
static inline void await_idle(const struct fixture *f)
{
    for (int busy = 1; busy;) {
        busy = 0;
        pthread_mutex_lock(&f->server->conns_lock);
        for (const pra__conn *c = f->server->conns; c; c = c->next)
            busy |= c->phase != PRA__IDLE;
        pthread_mutex_unlock(&f->server->conns_lock);
        pause_ms(2); /* idle times are counted in milliseconds */
    }
}

/* Requests refused or cut off for this reason. */
static inline uint64_t refused(const struct fixture *f, const char *reason)
{
    pra__metrics *m = &f->server->metrics;
    uint64_t count = 0;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < PRA__OUTCOMES && m->refused[i].count; i++)
        if (strcmp(m->refused[i].reason, reason) == 0)
            count = m->refused[i].count;
    pthread_mutex_unlock(&m->lock);
    return count;
}

/* Deadlines that cut off others must be kept by these tests too. Where the machine is too slow for
 * that, a longer one shows the same. */
static inline void with_longer_and_longer(uint32_t timeout_ms, bool (*holds)(uint32_t timeout_ms))
{
    while (!holds(timeout_ms)) {
        timeout_ms *= 2;
        assert_true(timeout_ms < 60000);
    }
}

/* Asks until the server's metrics hold this line. */
static inline void await_metric(const struct fixture *f, const char *line)
{
    for (int there = 0; !there;) {
        struct http_answer a = get(f, "GET", "/metrics");
        assert_int_equal(a.status, 200);
        there = strstr(a.body, line) != NULL;
        free(a.body);
    }
}

static inline void assert_serves(struct fixture *f)
{
    assert_int_equal(post_alone(f), 204);
}

/* A connection that has been used; again and again, where this program is as slow as the clients
 * that are to be cut off. */
static inline void open_used(struct http_client *c, const struct fixture *f)
{
    for (;;) {
        http_open(c, f->port);
        if (post(c, write_body, WRITE_LEN) == 204)
            return;
        http_close(c);
    }
}

/* ---- reads */

static inline pra_buffer *read_body(int32_t type)
{
    pra_read_request *req;
    pra_buffer *plain, *packed;
    pra_error err = {0};
    assert_int_equal(pra_read_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &plain), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &packed), PRA_OK);
    assert_int_equal(pra_read_request_add_query(req, 0, INT64_C(1) << 40), PRA_OK);
    assert_int_equal(pra_read_request_add_matcher(req, PRA_MATCH_EQUAL, (pra_str){"__name__", 8},
                                                  (pra_str){"up", 2}),
                     PRA_OK);
    assert_int_equal(pra_read_request_add_accepted(req, type), PRA_OK);
    assert_int_equal(pra_read_request_encode(req, plain, &err), PRA_OK);
    assert_int_equal(
        pra_snappy_compress(pra_buffer_data(plain), pra_buffer_len(plain), packed, &err), PRA_OK);
    pra_buffer_free(plain);
    pra_read_request_free(req);
    return packed;
}

static inline void send_read(struct http_client *c)
{
    pra_buffer *body = read_body(PRA_RESPONSE_SAMPLES);
    assert_true(http_post(c, "/api/v1/read", PROTO, pra_buffer_data(body), pra_buffer_len(body)));
    pra_buffer_free(body);
}

/* Samples in the answer to a read. */
static inline size_t read_samples(struct http_client *c)
{
    struct http_answer a;
    char value[64];
    pra_error err = {0};
    pra_read_response *resp;
    pra_columns columns = {.size = sizeof(columns)};
    send_read(c);
    http_read(c, &a, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(http_header(&a, "Content-Type", value, sizeof(value)),
                        "application/x-protobuf");
    assert_string_equal(http_header(&a, "Content-Encoding", value, sizeof(value)), "snappy");
    assert_int_equal(pra_read_response_new(NULL, &resp), PRA_OK);
    assert_int_equal(pra_read_response_decode_snappy(resp, a.body, a.body_len, NULL, &err), PRA_OK);
    assert_int_equal(pra_read_response_columns(resp, &columns), PRA_OK);
    size_t count = columns.sample_count;
    pra_read_response_free(resp);
    free(a.body);
    return count;
}

/* Stops a server on a thread of its own. */
struct stopper {
    pthread_t thread;
    pra_server *server;
    uint32_t grace_ms;
    int rc;
};

static inline void *stop_server(void *arg)
{
    struct stopper *s = arg;
    s->rc = pra_server_stop(s->server, s->grace_ms);
    return NULL;
}

#endif
