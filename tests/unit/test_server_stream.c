/* SPDX-License-Identifier: Apache-2.0 */
/* Streamed answers through the server, and the limit of concurrent reads. */
#include "server_fixture.h"

#include <errno.h>
#include <sys/socket.h>

/* A server over series series of samples samples each. */
static void prepare_fetched(struct fixture *f, size_t series, size_t samples)
{
    prepare(f);
    f->vtbl = &fetched_vtbl;
    f->store.series = series;
    f->store.answer_samples = samples;
}

static void send_streamed_as(struct http_client *c, const char *version)
{
    char text[1024];
    pra_buffer *body = read_body(PRA_RESPONSE_STREAMED_XOR_CHUNKS);
    size_t len = pra_buffer_len(body);
    int head = snprintf(text, sizeof(text) / 2,
                        "POST /api/v1/read %s\r\nHost: a\r\n" PROTO "Content-Length: %zu\r\n\r\n",
                        version, len);
    assert_true(len <= sizeof(text) / 2);
    memcpy(text + head, pra_buffer_data(body), len);
    assert_true(http_send(c, text, (size_t)head + len)); /* at once: it may have to be in time */
    pra_buffer_free(body);
}

static void send_streamed(struct http_client *c)
{
    send_streamed_as(c, "HTTP/1.1");
}

/* Asks on a connection of its own and takes no more than the status; again and again, where this
 * program is as slow as the clients that are to be cut off. */
static void begin_streamed(const struct fixture *f, struct http_client *c)
{
    for (;;) {
        char head[13] = "";
        http_open(c, f->port);
        send_streamed(c);
        if (http_recv(c, head, 12, MSG_WAITALL) == 12)
            assert_string_equal(head, "HTTP/1.1 200");
        if (*head)
            return;
        http_close(c);
    }
}

/* Samples in a complete body. */
static size_t samples_in(const void *body, size_t len)
{
    pra_stream_reader *reader;
    pra_error err = {0};
    size_t samples = 0;
    int rc;
    assert_int_equal(pra_stream_reader_new(NULL, NULL, &reader), PRA_OK);
    assert_int_equal(pra_stream_reader_feed(reader, body, len), PRA_OK);
    while ((rc = pra_stream_reader_next(reader, &err)) == PRA_OK) {
        pra_columns columns = {.size = sizeof(columns)};
        assert_int_equal(pra_stream_reader_columns(reader, &columns), PRA_OK);
        samples += columns.sample_count;
    }
    assert_int_equal(rc, PRA_DONE);
    assert_int_equal(pra_stream_reader_finish(reader, &err), PRA_OK);
    pra_stream_reader_free(reader);
    return samples;
}

static size_t read_streamed(struct http_client *c)
{
    struct http_answer a;
    char value[128];
    http_read(c, &a, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(http_header(&a, "Content-Type", value, sizeof(value)),
                        "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    assert_null(http_header(&a, "Content-Encoding", value, sizeof(value)));
    assert_null(http_header(&a, "Content-Length", value, sizeof(value)));
    assert_string_equal(http_header(&a, "Transfer-Encoding", value, sizeof(value)), "chunked");
    size_t samples = samples_in(a.body, a.body_len);
    free(a.body);
    return samples;
}

static int write_again(struct http_client *c)
{
    return post(c, write_body, WRITE_LEN);
}

/* ---- */

static void answers_are_streamed_and_the_connection_goes_on(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{0, 0}, {1, 1}, {3, 0}, {1, 3000}, {500, 121}, {5, 40000}};
    struct fixture f;
    struct http_client c;
    prepare_fetched(&f, 0, 0);
    start(&f);
    http_open(&c, f.port);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        f.store.series = sizes[i][0];
        f.store.answer_samples = sizes[i][1];
        send_streamed(&c);
        assert_int_equal(read_streamed(&c), sizes[i][0] * sizes[i][1]);
        assert_int_equal(write_again(&c), 204);
    }
    http_close(&c);
    finish(&f);
}

static void pushed_answers_are_streamed_too(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    prepare(&f);
    f.store.answer_samples = 100000;
    start(&f);
    http_open(&c, f.port);
    for (int i = 0; i < 3; i++) {
        send_streamed(&c);
        assert_int_equal(read_streamed(&c), 100000);
    }
    assert_int_equal(write_again(&c), 204);
    http_close(&c);
    finish(&f);
}

static void http_1_0_gets_all_until_the_end(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    prepare_fetched(&f, 10, 1000);
    start(&f);
    http_open(&c, f.port);
    send_streamed_as(&c, "HTTP/1.0");
    size_t cap = 1 << 20, len = 0;
    char *all = malloc(cap);
    for (ssize_t n; (n = http_recv(&c, all + len, cap - len, 0)) != 0; len += (size_t)n)
        assert_true(n > 0);
    const char *body = strstr(all, "\r\n\r\n") + 4;
    assert_null(strstr(all, "chunked"));
    assert_int_equal(samples_in(body, len - (size_t)(body - all)), 10000);
    free(all);
    http_close(&c);
    finish(&f);
}

/* What is sent to a reader that takes nothing is what sockets buffer, no more. */
static void slow_readers_hold_up_the_storage_and_no_worker(void **state)
{
    (void)state;
    enum { READERS = 4, SERIES = 100000 };
    struct fixture f;
    struct http_client c[READERS];
    prepare_fetched(&f, SERIES, 1000);
    f.opts.workers = 1;
    f.opts.max_concurrent_reads = READERS;
    start(&f);
    for (int i = 0; i < READERS; i++) {
        begin_streamed(&f, &c[i]);
        assert_serves(&f);
    }
    await_metric(&f, "pra_reads_in_flight 4\n");
    await_metric(&f, "pra_remote_read_queries 4\n");
    await_metric(&f, "pra_workers_busy 0\n");
    for (int before = -1, now; (now = fetches_of(&f.store)) != before; before = now)
        pause_ms(200); /* until nothing moves */
    assert_true(fetches_of(&f.store) < READERS * SERIES / 10);
    for (int i = 0; i < READERS; i++)
        http_close(&c[i]);
    await_metric(&f, "pra_reads_in_flight 0\n");
    await_metric(&f, "pra_remote_read_queries 0\n");
    await_metric(&f, "pra_rejected_requests_total{reason=\"cancelled\"} 4\n");
    finish(&f);
}

static void a_storage_that_fails_at_first_has_a_status(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    struct http_answer a;
    prepare_fetched(&f, 10, 1000);
    f.store.fails = 1;
    start(&f);
    http_open(&c, f.port);
    send_streamed(&c);
    http_read(&c, &a, 0);
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "the disk went away"));
    free(a.body);
    assert_int_equal(write_again(&c), 204);
    await_metric(&f, "pra_reads_in_flight 0\n");
    http_close(&c);
    finish(&f);
}

/* Neither the last chunk nor, for HTTP/1.0, an ordinary end. */
static void a_storage_that_fails_later_breaks_the_connection(void **state)
{
    (void)state;
    struct fixture f;
    prepare_fetched(&f, 1000, 1000);
    f.store.fails = 500;
    start(&f);
    for (int old = 0; old < 2; old++) {
        struct http_client c;
        char part[65536], end[5] = "";
        ssize_t n;
        http_open(&c, f.port);
        send_streamed_as(&c, old ? "HTTP/1.0" : "HTTP/1.1");
        while ((n = http_recv(&c, part, sizeof(part), 0)) > 0)
            if (n >= 5)
                memcpy(end, part + n - 5, 5);
        assert_int_equal(n, -1);
        assert_int_equal(errno, ECONNRESET);
        assert_memory_not_equal(end, "0\r\n\r\n", 5);
        http_close(&c);
        assert_serves(&f);
        f.store.fetches = 0;
    }
    await_metric(&f, "pra_rejected_requests_total{reason=\"io\"} 2\n");
    await_metric(&f, "pra_reads_in_flight 0\n");
    finish(&f);
}

static void readers_that_stop_are_cut_off(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    prepare_fetched(&f, 100000, 1000);
    f.opts.body_timeout_ms = 300;
    start(&f);
    begin_streamed(&f, &c);
    await_connections(&f, 0);
    assert_int_equal(atomic_load(&f.server->metrics.reads), 0);
    assert_int_not_equal(refused(&f, "timeout"), 0);
    http_close(&c);
    open_used(&c, &f);
    http_close(&c);
    finish(&f);
}

static bool storage_may_take_longer_than(uint32_t timeout_ms)
{
    struct fixture f;
    struct http_client c;
    struct http_answer a;
    char byte;
    prepare_fetched(&f, 300, 1000);
    f.opts.body_timeout_ms = timeout_ms;
    start(&f);
    http_open(&c, f.port);
    hold(&f.store, 1);
    send_streamed(&c);
    while (!fetches_of(&f.store) && http_recv(&c, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
        pause_ms(1);
    pause_ms(2 * (long)timeout_ms);
    hold(&f.store, 0);
    http_read(&c, &a, 0);
    if (a.status == 200)
        assert_int_equal(samples_in(a.body, a.body_len), 300000);
    free(a.body);
    http_close(&c);
    finish(&f);
    return a.status == 200;
}

static void the_time_of_the_storage_is_not_the_readers(void **state)
{
    (void)state;
    with_longer_and_longer(500, storage_may_take_longer_than);
}

/* ---- clients that go away */

/* fetches counts the queries that have begun, inside those that are over. */
static void count(struct store *st, int *counter)
{
    pthread_mutex_lock(&st->lock);
    ++*counter;
    pthread_cond_broadcast(&st->changed);
    pthread_mutex_unlock(&st->lock);
}

/* Series without end and without data, in order: only a sink ends them. */
static int endless_query(void *self, const pra_context *ctx, const pra_query *query,
                         pra_series_sink *sink, pra_error *err)
{
    struct store *st = self;
    int rc = PRA_OK;
    (void)ctx;
    *pra_query_state(query) = st;
    count(st, &st->fetches);
    for (uint64_t i = 0; rc == PRA_OK; i++) {
        char digits[24];
        int len = snprintf(digits, sizeof(digits), "%020llu", (unsigned long long)i);
        const pra_label label = {{"i", 1}, {digits, (size_t)len}};
        rc = pra_series_sink_add(sink, &label, 1, NULL, NULL, 0, err);
    }
    return rc;
}

static int endless_select(void *self, const pra_context *ctx, const pra_query *query,
                          pra_series_list *list, pra_error *err)
{
    struct store *st = self;
    const pra_label none = {{NULL, 0}, {"x", 1}};
    int rc = PRA_ERR_LABELS;
    (void)ctx;
    *pra_query_state(query) = st;
    count(st, &st->fetches);
    while (rc == PRA_ERR_LABELS) /* is not added */
        rc = pra_series_list_add(list, &none, 1, 0, err);
    return rc;
}

static void endless_release(void *self, void *state)
{
    struct store *st = self;
    assert_ptr_equal(state, st);
    count(st, &st->inside);
}

static const pra_storage_vtbl endless_vtbls[] = {{.size = sizeof(pra_storage_vtbl),
                                                  .process_query = endless_query,
                                                  .release = endless_release,
                                                  .destroy = store_destroy},
                                                 {.size = sizeof(pra_storage_vtbl),
                                                  .flags = PRA_STORAGE_ORDERED,
                                                  .process_query = endless_query,
                                                  .release = endless_release,
                                                  .destroy = store_destroy},
                                                 {.size = sizeof(pra_storage_vtbl),
                                                  .select = endless_select,
                                                  .fetch = store_fetch,
                                                  .release = endless_release,
                                                  .destroy = store_destroy}};

static void a_read_ends_when_its_client_goes(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct fixture f;
        struct http_client c;
        prepare(&f);
        f.vtbl = &endless_vtbls[i / 2];
        start(&f);
        http_open(&c, f.port);
        if (i % 2)
            send_streamed(&c);
        else
            send_read(&c);
        await_fetches(&f.store, 1);
        http_close(&c);
        await_inside(&f.store, 1);
        await_metric(&f, "pra_reads_in_flight 0\n");
        await_metric(&f, "pra_rejected_requests_total{reason=\"cancelled\"} 1\n");
        finish(&f);
        assert_int_equal(f.store.inside, 1);
    }
}

static void stopping_ends_reads_that_take_longer(void **state)
{
    struct fixture f;
    struct http_client c;
    (void)state;
    prepare(&f);
    f.vtbl = &endless_vtbls[0];
    start(&f);
    http_open(&c, f.port);
    send_read(&c);
    await_fetches(&f.store, 1);
    assert_int_equal(pra_server_stop(f.server, 10), PRA_DONE);
    assert_int_equal(f.store.inside, 1);
    http_close(&c);
    finish(&f);
}

/* ---- the gate */

static void reads_beyond_the_limit_wait_and_then_get_503(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client first, second;
    struct http_answer a;
    char value[16];
    prepare_fetched(&f, 10, 1000);
    f.opts.max_concurrent_reads = 1;
    f.opts.worker_wait_ms = 30;
    start(&f);
    hold(&f.store, 1);
    http_open(&first, f.port);
    send_streamed(&first);
    await_fetches(&f.store, 1);
    http_open(&second, f.port);
    for (int sampled = 0; sampled < 2; sampled++) {
        if (sampled)
            send_read(&second);
        else
            send_streamed(&second);
        http_read(&second, &a, 0);
        assert_int_equal(a.status, 503);
        assert_string_equal(http_header(&a, "Retry-After", value, sizeof(value)), "1");
        assert_non_null(strstr(a.body, "too many reads"));
        free(a.body);
    }
    assert_int_equal(write_again(&second), 204);
    hold(&f.store, 0);
    assert_int_equal(read_streamed(&first), 10000);
    send_streamed(&second);
    assert_int_equal(read_streamed(&second), 10000);
    assert_int_equal(read_samples(&second), 10000);
    http_close(&first);
    http_close(&second);
    finish(&f);
}

struct reader {
    pthread_t thread;
    const struct fixture *f;
    size_t samples;
};

static void *read_one(void *arg)
{
    struct reader *r = arg;
    struct http_client c;
    http_open(&c, r->f->port);
    for (int i = 0; i < 3; i++) {
        send_streamed(&c);
        r->samples += read_streamed(&c);
    }
    http_close(&c);
    return NULL;
}

static void many_readers_take_turns(void **state)
{
    (void)state;
    enum { READERS = 8 };
    struct fixture f;
    struct reader readers[READERS] = {0};
    prepare_fetched(&f, 20, 500);
    f.opts.max_concurrent_reads = 2;
    f.opts.workers = 1;
    start(&f);
    for (int i = 0; i < READERS; i++) {
        readers[i].f = &f;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_one, &readers[i]), 0);
    }
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].samples, 3 * 20 * 500);
    }
    finish(&f);
}

/* ---- stopping */

static void stop_lets_streams_end(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    prepare_fetched(&f, 1000, 1000);
    start(&f);
    hold(&f.store, 1);
    http_open(&c, f.port);
    send_streamed(&c);
    await_fetches(&f.store, 1);
    struct stopper stop = {.server = f.server, .grace_ms = 120000};
    assert_int_equal(pthread_create(&stop.thread, NULL, stop_server, &stop), 0);
    hold(&f.store, 0);
    assert_int_equal(read_streamed(&c), 1000000);
    pthread_join(stop.thread, NULL);
    assert_int_equal(stop.rc, PRA_OK);
    http_close(&c);
    finish(&f);
}

static void stop_breaks_streams_that_take_longer(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    char part[65536];
    ssize_t n;
    prepare_fetched(&f, 100000, 1000);
    start(&f);
    begin_streamed(&f, &c);
    assert_int_equal(pra_server_stop(f.server, 10), PRA_DONE);
    while ((n = http_recv(&c, part, sizeof(part), 0)) > 0)
        ;
    assert_int_equal(n, -1);
    assert_int_equal(errno, ECONNRESET);
    http_close(&c);
    finish(&f);
}

/* ---- counting */

static void streamed_answers_are_counted_when_they_end(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "pra_requests_total{endpoint=\"read\",version=\"streamed\",code=\"200\"} 2\n",
        "pra_request_duration_seconds_count{endpoint=\"read\"} 2\n",
        "pra_read_series_total 20\n",
        "pra_read_samples_total 20000\n",
        "pra_read_queries_total 2\n",
        "pra_reads_in_flight 0\n",
        "pra_remote_read_queries 0\n",
    };
    struct fixture f;
    struct http_client c;
    struct http_answer a;
    char bytes[80];
    size_t len = 0;
    prepare_fetched(&f, 10, 1000);
    start(&f);
    http_open(&c, f.port);
    for (int i = 0; i < 2; i++) {
        send_streamed(&c);
        http_read(&c, &a, 0);
        assert_int_equal(a.status, 200);
        len += a.body_len;
        free(a.body);
    }
    http_close(&c);
    a = get(&f, "GET", "/metrics");
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        if (!strstr(a.body, expected[i]))
            fail_msg("missing: %s in\n%s", expected[i], a.body);
    (void)snprintf(bytes, sizeof(bytes), "pra_streamed_bytes_total %zu\n", len);
    assert_non_null(strstr(a.body, bytes));
    (void)snprintf(bytes, sizeof(bytes), "pra_response_bytes_total{endpoint=\"read\"} %zu\n", len);
    assert_non_null(strstr(a.body, bytes));
    free(a.body);
    finish(&f);
}

static void no_memory_gives_503_and_passes(void **state)
{
    (void)state;
    struct fixture f;
    int good = 0;
    prepare_fetched(&f, 3, 10);
    start(&f);
    for (int n = 0; n < 200 && good < 4; n++) {
        struct http_client c;
        http_open(&c, f.port);
        atomic_store(&allowed, n);
        send_streamed(&c);
        int status = status_of(&c);
        atomic_store(&allowed, -1);
        http_close(&c);
        assert_true(status == 503 || status == 200 || (status == 0 && n > 10)); /* 0: later on */
        good = status == 200 ? good + 1 : 0;
        if (n < 2)
            assert_int_equal(status, 503);
    }
    assert_int_equal(good, 4);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_streamed_and_the_connection_goes_on),
        cmocka_unit_test(pushed_answers_are_streamed_too),
        cmocka_unit_test(http_1_0_gets_all_until_the_end),
        cmocka_unit_test(slow_readers_hold_up_the_storage_and_no_worker),
        cmocka_unit_test(a_storage_that_fails_at_first_has_a_status),
        cmocka_unit_test(a_storage_that_fails_later_breaks_the_connection),
        cmocka_unit_test(readers_that_stop_are_cut_off),
        cmocka_unit_test(the_time_of_the_storage_is_not_the_readers),
        cmocka_unit_test(a_read_ends_when_its_client_goes),
        cmocka_unit_test(stopping_ends_reads_that_take_longer),
        cmocka_unit_test(reads_beyond_the_limit_wait_and_then_get_503),
        cmocka_unit_test(many_readers_take_turns),
        cmocka_unit_test(stop_lets_streams_end),
        cmocka_unit_test(stop_breaks_streams_that_take_longer),
        cmocka_unit_test(streamed_answers_are_counted_when_they_end),
        cmocka_unit_test(no_memory_gives_503_and_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
