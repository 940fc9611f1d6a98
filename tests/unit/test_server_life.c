/* SPDX-License-Identifier: Apache-2.0 */
/* Slow clients, full servers, stopping, and the server's own pages. */
#include "server_fixture.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* ---- slow and idle clients */

static void slow_heads_bodies_and_idle_connections_are_cut_off(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    prepare(&f);
    f.opts.header_timeout_ms = 300;
    f.opts.body_timeout_ms = 300;
    f.opts.idle_timeout_ms = 600;
    start(&f);
    http_open(&c, f.port); /* nothing at all */
    assert_true(http_ends(&c));
    http_close(&c);
    http_open(&c, f.port); /* half a request line */
    (void)http_send_text(&c, "POST /wri");
    assert_true(http_ends(&c));
    http_close(&c);
    open_used(&c, &f); /* half a head, on a connection that has been used */
    (void)http_send_text(&c, "POST /write HTTP/1.1\r\nHos");
    assert_true(http_ends(&c));
    http_close(&c);
    http_open(&c, f.port); /* half a body */
    (void)http_send_text(&c, "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO
                             "Content-Length: 33\r\n\r\nabc");
    assert_true(http_ends(&c));
    http_close(&c);
    open_used(&c, &f);
    http_close(&c);
    finish(&f);
}

/* A head that begins before there is anything to see its first byte by: together with the request
 * before it, or before the connection is accepted. */
static void heads_that_begin_early_are_cut_off(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client early, joined;
    char text[256];
    prepare(&f);
    f.opts.header_timeout_ms = 100;
    prepare_server(&f);
    http_open(&early, f.port);
    assert_true(http_send_text(&early, "POST /wri"));
    start_server(&f);
    assert_true(http_ends(&early));
    http_close(&early);
    for (int status = 0; status != 204; http_close(&joined)) { /* as open_used */
        int len = snprintf(text, sizeof(text),
                           "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO "Content-Length: %d\r\n\r\n",
                           (int)WRITE_LEN);
        memcpy(text + len, write_body, WRITE_LEN);
        memcpy(text + len + WRITE_LEN, "POST /wri", 9);
        http_open(&joined, f.port);
        assert_true(http_send(&joined, text, (size_t)len + WRITE_LEN + 9));
        status = status_of(&joined);
        assert_true(http_ends(&joined));
    }
    finish(&f);
}

/* Two requests that come together, and others after a while. */
static bool may_be_idle_between_requests(uint32_t timeout_ms)
{
    struct fixture f;
    struct http_client c;
    static const char ready[] = "GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n";
    char two[2 * sizeof(ready)];
    (void)snprintf(two, sizeof(two), "%s%s", ready, ready);
    prepare(&f);
    f.opts.header_timeout_ms = timeout_ms;
    start(&f);
    http_open(&c, f.port);
    (void)http_send_text(&c, two);
    bool served = status_of(&c) == 200 && status_of(&c) == 200;
    for (int i = 0; i < 2 && served; i++) {
        pause_ms(2 * (long)timeout_ms);
        served = post(&c, write_body, WRITE_LEN) == 204;
    }
    http_close(&c);
    finish(&f);
    return served;
}

/* Between whole requests the header timeout does not count. */
static void connections_may_be_idle_between_requests(void **state)
{
    (void)state;
    with_longer_and_longer(250, may_be_idle_between_requests);
}

/* One byte after the other, until the server ends the connection. */
static void trickling_does_not_extend_a_deadline(void **state)
{
    (void)state;
    enum { MOST = 20000 };
#define CHUNKED "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO "Transfer-Encoding: chunked\r\n\r\n"
    static const struct {
        const char *begin, *again;
    } clients[] = {
        {"", "\r\n"},
        {"", "G"},
        {"GET /", "a"},
        {"POST /write HTTP/1.1\r\nX: ", "a"},
        {"POST /write HTTP/1.1\r\nHost: a\r\n", "X: a\r\n"},
        {"POST /write HTTP/1.1\r\nHost: a\r\n" PROTO "Content-Length: 100000\r\n\r\n", "a"},
        {CHUNKED, "0"},
        {CHUNKED "5;", "a"},
        {CHUNKED "fffff\r\n", "a"},
        {CHUNKED, "1\r\na\r\n"},
        {CHUNKED "0\r\n", "X: a\r\n"},
    };
    struct fixture f;
    prepare(&f);
    f.opts.header_timeout_ms = 60;
    f.opts.body_timeout_ms = 60;
    start(&f);
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        const char *again = clients[i].again;
        struct http_client c;
        int sent = 0;
        http_open(&c, f.port);
        (void)http_send_text(&c, clients[i].begin);
        while (sent < MOST && http_send(&c, again + sent % (int)strlen(again), 1)) {
            sent++; /* 100 s unless cut off */
            pause_ms(5);
        }
        assert_true(sent < MOST);
        http_close(&c);
    }
    assert_int_equal(f.store.samples, 0);
    finish(&f);
}

static void idle_and_slow_connections_do_not_hold_up_others(void **state)
{
    (void)state;
    enum { IDLE = 200, SLOW = 100 };
    struct fixture f;
    struct http_client held[IDLE + SLOW];
    prepare(&f);
    f.opts.workers = 1;
    start(&f);
    for (int i = 0; i < IDLE + SLOW; i++) {
        http_open(&held[i], f.port);
        if (i % 2)
            assert_int_equal(post(&held[i], write_body, WRITE_LEN), 204);
        if (i >= IDLE)
            assert_true(http_send_text(&held[i], "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO
                                                 "Content-Length: 33\r\n\r\nabc"));
    }
    for (int i = 0; i < 20; i++)
        assert_serves(&f);
    for (int i = 0; i < IDLE + SLOW; i++)
        http_close(&held[i]);
    finish(&f);
}

/* Sends a read and takes no more of its answer than the status; 0: there is none. */
static int begin_read(const struct fixture *f, struct http_client *c)
{
    char head[13] = "";
    http_open(c, f->port);
    send_read(c);
    return http_recv(c, head, 12, MSG_WAITALL) == 12 ? (int)strtol(head + 9, NULL, 10) : 0;
}

/* As open_used. */
static void begin_read_in_time(const struct fixture *f, struct http_client *c)
{
    while (begin_read(f, c) != 200)
        http_close(c);
}

static void slow_readers_hold_no_worker(void **state)
{
    (void)state;
    enum { READERS = 4 };
    struct fixture f;
    struct http_client c[READERS];
    prepare(&f);
    f.opts.workers = 1;
    f.store.answer_samples = 1000000; /* some 10 MB: more than sockets buffer */
    start(&f);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(begin_read(&f, &c[i]), 200);
        assert_serves(&f);
    }
    for (int i = 0; i < READERS; i++)
        http_close(&c[i]); /* and they never take their answers */
    assert_serves(&f);
    finish(&f);
}

static void answers_not_taken_are_bounded_together(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client slow, c;
    prepare(&f);
    f.opts.max_pending_bytes = UINT64_C(15) << 20;
    f.store.answer_samples = 1000000;
    start(&f);
    assert_int_equal(begin_read(&f, &slow), 200);
    http_open(&c, f.port);
    send_read(&c);
    assert_int_equal(status_of(&c), 503);
    assert_int_equal(post(&c, write_body, WRITE_LEN), 204); /* on the same connection */
    http_close(&slow);
    for (int status = 503, i = 0; status == 503 && i < 1000; i++) {
        pause_ms(10);
        send_read(&c);
        status = status_of(&c);
        assert_true(status == 200 || i < 999);
    }
    http_close(&c);
    finish(&f);
}

static void reader_that_stops_reading_is_cut_off(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    prepare(&f);
    f.opts.body_timeout_ms = 500;
    f.store.answer_samples = 3000000;
    start(&f);
    begin_read_in_time(&f, &c);
    await_connections(&f, 0);
    assert_true(http_ends(&c));
    http_close(&c);
    finish(&f);
}

/* One byte after the other, as slowly as it may. */
static void reader_that_trickles_is_cut_off(void **state)
{
    (void)state;
    enum { MOST = 20000 };
    struct fixture f;
    struct http_client c;
    char byte;
    int taken = 0;
    prepare(&f);
    f.opts.body_timeout_ms = 60;
    f.store.answer_samples = 3000000;
    start(&f);
    begin_read_in_time(&f, &c);
    for (; atomic_load(&f.server->metrics.connections) && taken < MOST; taken++) {
        pause_ms(5);
        (void)http_recv(&c, &byte, 1, 0);
    }
    assert_true(taken < MOST);
    http_close(&c);
    finish(&f);
}

/* ---- workers */

struct sender {
    pthread_t thread;
    const struct fixture *f;
    int status;
};

static void *send_one(void *arg)
{
    struct sender *s = arg;
    s->status = post_alone(s->f);
    return NULL;
}

static void workers_bound_the_requests_in_the_storage(void **state)
{
    (void)state;
    enum { SENDERS = 12 };
    struct fixture f;
    struct sender senders[SENDERS];
    prepare(&f);
    f.opts.workers = 3;
    start(&f);
    gate(&f.store, 1);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].f = &f;
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_one, &senders[i]), 0);
    }
    await_inside(&f.store, 3);
    gate(&f.store, 0);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_int_equal(senders[i].status, 204);
    }
    assert_int_equal(f.store.most_inside, 3);
    assert_int_equal(f.store.most_worker, 2);
    assert_int_equal(f.store.samples, SENDERS);
    finish(&f);
}

static void waiting_too_long_for_a_worker_gives_503(void **state)
{
    (void)state;
    struct fixture f;
    struct sender first = {.f = &f};
    prepare(&f);
    f.opts.workers = 1;
    f.opts.worker_wait_ms = 30;
    start(&f);
    gate(&f.store, 1);
    assert_int_equal(pthread_create(&first.thread, NULL, send_one, &first), 0);
    await_inside(&f.store, 1);
    assert_int_equal(post_alone(&f), 503);
    gate(&f.store, 0);
    pthread_join(first.thread, NULL);
    assert_int_equal(first.status, 204);
    assert_serves(&f);
    finish(&f);
}

static int read_alone(const struct fixture *f)
{
    struct http_client c;
    http_open(&c, f->port);
    send_read(&c);
    int status = status_of(&c);
    http_close(&c);
    return status;
}

/* Every allocation refused in turn, from then on. */
static void no_memory_gives_503_and_passes(void **state)
{
    (void)state;
    struct fixture f;
    int good = 0;
    start_default(&f);
    for (int n = 0; n < 100 && good < 4; n++) {
        atomic_store(&allowed, n);
        int wrote = n % 2 ? post_alone(&f) : read_alone(&f);
        atomic_store(&allowed, -1);
        good = wrote == 503 ? 0 : good + 1;
        assert_true(wrote == 503 || wrote == (n % 2 ? 204 : 200));
        if (n < 2)
            assert_int_equal(wrote, 503);
    }
    assert_int_equal(good, 4);
    finish(&f);
}

static void connections_beyond_the_limit_are_told_so(void **state)
{
    (void)state;
    enum { MOST = 4 };
    struct fixture f;
    struct sender held[MOST];
    struct http_client c;
    prepare(&f);
    f.opts.max_connections = MOST;
    start(&f);
    gate(&f.store, 1);
    for (int i = 0; i < MOST; i++) {
        held[i].f = &f;
        assert_int_equal(pthread_create(&held[i].thread, NULL, send_one, &held[i]), 0);
    }
    await_inside(&f.store, MOST);
    http_open(&c, f.port);
    assert_int_equal(post(&c, write_body, WRITE_LEN), 503);
    assert_true(http_ends(&c));
    http_close(&c);
    struct http_answer a = get(&f, "GET", "/-/healthy");
    assert_int_equal(a.status, 200);
    free(a.body);
    gate(&f.store, 0);
    for (int i = 0; i < MOST; i++) {
        pthread_join(held[i].thread, NULL);
        assert_int_equal(held[i].status, 204);
    }
    while (post_alone(&f) != 204) /* until it has noticed */
        pause_ms(1);
    finish(&f);
}

static void a_new_connection_takes_the_place_of_the_longest_idle_one(void **state)
{
    (void)state;
    enum { MOST = 4 };
    struct fixture f;
    struct http_client held[MOST], c[2];
    prepare(&f);
    f.opts.max_connections = MOST;
    start(&f);
    for (int i = 0; i < MOST; i++) {
        http_open(&held[i], f.port);
        assert_int_equal(post(&held[i], write_body, WRITE_LEN), 204);
        await_idle(&f);
    }
    assert_int_equal(post(&held[0], write_body, WRITE_LEN), 204);
    await_idle(&f);
    for (int i = 0; i < 2; i++) {
        http_open(&c[i], f.port);
        assert_int_equal(post(&c[i], write_body, WRITE_LEN), 204);
        assert_true(http_ends(&held[1 + i]));
        http_close(&held[1 + i]);
    }
    await_metric(&f, "pra_evicted_connections_total "); /* and closes one more for this */
    assert_int_equal(post(&held[0], write_body, WRITE_LEN), 204);
    http_close(&held[0]);
    http_close(&held[3]);
    for (int i = 0; i < 2; i++)
        http_close(&c[i]);
    finish(&f);
}

/* ---- stopping */

static void stop_finishes_what_is_in_flight(void **state)
{
    (void)state;
    struct fixture f;
    struct sender first = {.f = &f};
    struct http_client other;
    start_default(&f);
    http_open(&other, f.port);
    assert_int_equal(post(&other, write_body, WRITE_LEN), 204);
    gate(&f.store, 1);
    assert_int_equal(pthread_create(&first.thread, NULL, send_one, &first), 0);
    await_inside(&f.store, 1);
    struct stopper stop = {.server = f.server, .grace_ms = 120000};
    assert_int_equal(pthread_create(&stop.thread, NULL, stop_server, &stop), 0);
    int status = 200;
    while (status == 200) { /* until the stop has begun */
        assert_true(http_send_text(&other, "GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n"));
        status = status_of(&other);
    }
    assert_int_equal(status, 503);
    assert_int_equal(post(&other, write_body, WRITE_LEN), 503);
    assert_true(http_ends(&other));
    http_close(&other);
    gate(&f.store, 0);
    pthread_join(first.thread, NULL);
    pthread_join(stop.thread, NULL);
    assert_int_equal(first.status, 204);
    assert_int_equal(stop.rc, PRA_OK);
    assert_int_equal(pra_server_stop(f.server, 0), PRA_OK);
    finish(&f);
}

static void stop_cuts_off_what_takes_longer_than_the_grace(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    start_default(&f);
    http_open(&c, f.port);
    assert_true(http_send_text(&c, "POST /write HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                                   "Content-Length: 33\r\n" PROTO "\r\n"));
    assert_int_equal(status_of(&c), 100); /* so the request has begun */
    assert_int_equal(pra_server_stop(f.server, 10), PRA_DONE);
    assert_true(http_ends(&c));
    http_close(&c);
    finish(&f);
}

static void stop_waits_for_the_storage_but_not_for_a_worker(void **state)
{
    (void)state;
    struct fixture f;
    struct sender working = {.f = &f}, waiting = {.f = &f};
    prepare(&f);
    f.opts.workers = 1;
    start(&f);
    gate(&f.store, 1);
    assert_int_equal(pthread_create(&working.thread, NULL, send_one, &working), 0);
    await_inside(&f.store, 1);
    assert_int_equal(pthread_create(&waiting.thread, NULL, send_one, &waiting), 0);
    await_metric(&f, "pra_pending_bytes 33\n");
    struct stopper stop = {.server = f.server, .grace_ms = 10};
    assert_int_equal(pthread_create(&stop.thread, NULL, stop_server, &stop), 0);
    pthread_join(waiting.thread, NULL);
    assert_int_not_equal(waiting.status, 204);
    gate(&f.store, 0);
    pthread_join(working.thread, NULL);
    pthread_join(stop.thread, NULL);
    assert_int_equal(stop.rc, PRA_DONE);
    assert_int_equal(f.store.samples, 1);
    finish(&f);
}

/* libmicrohttpd can crash when it is stopped while it refuses a request by itself. */
static void stop_in_the_middle_of_nonsense(void **state)
{
    (void)state;
    enum { ROUNDS = 20, CLIENTS = 16 };
    for (int round = 0; round < ROUNDS; round++) {
        struct fixture f;
        struct http_client clients[CLIENTS];
        start_default(&f);
        for (int i = 0; i < CLIENTS; i++)
            http_open(&clients[i], f.port);
        for (int i = 0; i < CLIENTS; i++)
            (void)http_send_text(&clients[i], "GET / HTTP/9.9\r\n\r\n");
        (void)pra_server_stop(f.server, 0);
        for (int i = 0; i < CLIENTS; i++)
            http_close(&clients[i]);
        finish(&f);
    }
}

/* ---- the server's own pages */

static void pages_answer(void **state)
{
    (void)state;
    struct fixture f;
    prepare(&f);
    f.opts.description_cstr = "sqlite:<a&b>";
    start(&f);
    struct http_answer a = get(&f, "GET", "/");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "- url: http://my.host:1/api/v1/write"));
    assert_non_null(strstr(a.body, "- {url: http://my.host:1/api/v1/read, read_recent: true}"));
    assert_non_null(strstr(a.body, "sqlite:&lt;a&amp;b&gt;"));
    free(a.body);
    const char *const healthy[] = {"/-/healthy", "/-/ready", "/-/ready?x=1"};
    for (size_t i = 0; i < 3; i++) {
        a = get(&f, "GET", healthy[i]);
        assert_int_equal(a.status, 200);
        assert_true(a.body_len > 0);
        free(a.body);
        a = get(&f, "HEAD", healthy[i]);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body_len, 0);
        free(a.body);
    }
    a = get(&f, "GET", "/metrics/no");
    assert_int_equal(a.status, 404);
    assert_non_null(strstr(a.body, "/api/v1/write"));
    free(a.body);
    assert_int_equal(raw(&f, "POST / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    finish(&f);
}

static void host_header_cannot_inject_into_the_page(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    struct http_answer a;
    start_default(&f);
    http_open(&c, f.port);
    assert_true(http_send_text(&c, "GET / HTTP/1.1\r\nHost: <script>alert(1)</script>\r\n\r\n"));
    http_read(&c, &a, 0);
    assert_int_equal(a.status, 200);
    assert_null(strstr(a.body, "<script>"));
    assert_non_null(strstr(a.body, "url: http://127.0.0.1:"));
    free(a.body);
    http_close(&c);
    finish(&f);
}

static void metrics_count(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "pra_requests_total{endpoint=\"write\",version=\"1.0\",code=\"204\"} 2\n",
        "pra_requests_total{endpoint=\"write\",version=\"1.0\",code=\"400\"} 1\n",
        "pra_requests_total{endpoint=\"read\",version=\"samples\",code=\"200\"} 1\n",
        "pra_rejected_requests_total{reason=\"snappy_ratio\"} 1\n",
        "pra_rejected_requests_total{reason=\"framing\"} 1\n",
        "pra_request_duration_seconds_count{endpoint=\"write\"} 3\n",
        "pra_request_duration_seconds_bucket{endpoint=\"read\",le=\"+Inf\"} 1\n",
        "pra_request_bytes_total{endpoint=\"write\"} 70\n", /* 2 x 33 + "junk" */
        "pra_decoded_bytes_total{endpoint=\"write\"} 62\n",
        "pra_received_samples_total 2\n",
        "pra_received_series_total 2\n",
        "pra_read_queries_total 1\n",
        "pra_read_samples_total 3\n",
        "pra_remote_read_queries 0\n",
        "pra_workers 8\n",
        "pra_workers_busy 0\n",
        "pra_build_info{version=\"",
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "store_metric 7\n",
    };
    struct fixture f;
    struct http_client c;
    start_default(&f);
    http_open(&c, f.port);
    assert_int_equal(post(&c, write_body, WRITE_LEN), 204);
    assert_int_equal(post(&c, write_body, WRITE_LEN), 204);
    assert_int_equal(post(&c, "junk", 4), 400);
    assert_int_equal(read_samples(&c), 3);
    http_close(&c);
    assert_int_equal(raw(&f, "POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
                             "Content-Length: 0\r\n\r\n"),
                     400);
    struct http_answer a = get(&f, "GET", "/metrics");
    assert_int_equal(a.status, 200);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        if (!strstr(a.body, expected[i]))
            fail_msg("missing: %s in\n%s", expected[i], a.body);
    free(a.body);
    finish(&f);
}

/* ---- making one */

static void addresses_and_options_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"9201",     "127.0.0.1",     "127.0.0.1:", "127.0.0.1:99999",
                                      "::1:9201", "127.0.0.1:http"};
    struct fixture f;
    pra_server *server = NULL;
    pra_error err = {0};
    start_default(&f);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        pra_server_opts opts = {.size = sizeof(opts), .listen_cstr = &bad[i], .listen_count = 1};
        assert_int_equal(pra_server_new(&counted, f.handler, &opts, &server, &err),
                         PRA_ERR_INVALID_ARG);
        assert_non_null(strstr(err.message, bad[i]));
    }
    char used[32];
    const char *both[] = {"127.0.0.1:0", used};
    (void)snprintf(used, sizeof(used), "127.0.0.1:%u", f.port);
    pra_server_opts opts = {.size = sizeof(opts), .listen_cstr = both, .listen_count = 2};
    assert_int_equal(pra_server_new(&counted, f.handler, &opts, &server, &err), PRA_ERR_IO);
    assert_non_null(strstr(err.message, "another program uses this port"));
    struct {
        pra_server_opts known;
        char tail[8];
    } newer = {.known = {.size = sizeof(newer)}, .tail = "x"};
    assert_int_equal(pra_server_new(&counted, f.handler, &newer.known, &server, &err),
                     PRA_ERR_UNSUPPORTED_OPTION);
    assert_null(server);
    assert_int_equal(pra_server_start(f.server, &err), PRA_ERR_STATE);
    assert_int_equal(pra_server_port(f.server, 1), 0);
    finish(&f);
}

static void new_survives_every_refused_allocation(void **state)
{
    (void)state;
    struct fixture f;
    start_default(&f);
    long before = atomic_load(&live_bytes);
    int rc = PRA_ERR_NOMEM;
    for (int n = 0; rc == PRA_ERR_NOMEM && n < 100; n++) {
        pra_server_opts opts = {.size = sizeof(opts), .description_cstr = "a storage"};
        const char *const any_port[] = {"127.0.0.1:0"};
        opts.listen_cstr = any_port;
        opts.listen_count = 1;
        pra_server *server = NULL;
        pra_error err = {0};
        atomic_store(&allowed, n);
        rc = pra_server_new(&counted, f.handler, &opts, &server, &err);
        atomic_store(&allowed, -1);
        assert_int_equal(rc, n < 3 ? PRA_ERR_NOMEM : rc);
        assert_true(rc == PRA_OK ? server != NULL : err.code == PRA_ERR_NOMEM);
        pra_server_free(server);
        assert_int_equal(atomic_load(&live_bytes), before);
    }
    assert_int_equal(rc, PRA_OK);
    finish(&f);
}

static void a_server_with_few_files_left_still_takes_a_connection(void **state)
{
    (void)state;
    enum { SPARE_FILES = 24 }; /* as in server.c */
    static const char *const two[] = {"127.0.0.1:0", "127.0.0.1:0"};
    struct fixture f;
    struct rlimit before, few;
    pra_server *server = NULL;
    pra_error err = {0};
    const pra_server_opts opts = {.size = sizeof(opts), .listen_cstr = two, .listen_count = 2};
    start_default(&f);
    assert_int_equal(pra_server_new(&counted, f.handler, &opts, &server, &err), PRA_OK);
    rlim_t used = 0;
    for (int fd = 0; fd < 1024; fd++)
        used += fcntl(fd, F_GETFD) >= 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = used + SPARE_FILES + 1; /* one for two addresses */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(pra_server_start(server, &err), PRA_OK);
    f.port = pra_server_port(server, 1);
    assert_serves(&f);
    pra_server_free(server);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    finish(&f);
}

/* ---- the executor */

static void mark(void *arg, size_t index)
{
    atomic_fetch_add(&((atomic_int *)arg)[index], 1);
}

static void executor_runs_every_task_once(void **state)
{
    (void)state;
    atomic_int done[100] = {0};
    const pra_executor *e = pra_server_executor();
    assert_int_equal(e->parallel_for(e->ctx, 100, mark, done), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(atomic_load(&done[i]), 1);
    assert_int_equal(e->parallel_for(e->ctx, 0, mark, done), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_heads_bodies_and_idle_connections_are_cut_off),
        cmocka_unit_test(heads_that_begin_early_are_cut_off),
        cmocka_unit_test(connections_may_be_idle_between_requests),
        cmocka_unit_test(trickling_does_not_extend_a_deadline),
        cmocka_unit_test(idle_and_slow_connections_do_not_hold_up_others),
        cmocka_unit_test(slow_readers_hold_no_worker),
        cmocka_unit_test(answers_not_taken_are_bounded_together),
        cmocka_unit_test(reader_that_stops_reading_is_cut_off),
        cmocka_unit_test(reader_that_trickles_is_cut_off),
        cmocka_unit_test(workers_bound_the_requests_in_the_storage),
        cmocka_unit_test(waiting_too_long_for_a_worker_gives_503),
        cmocka_unit_test(connections_beyond_the_limit_are_told_so),
        cmocka_unit_test(a_new_connection_takes_the_place_of_the_longest_idle_one),
        cmocka_unit_test(no_memory_gives_503_and_passes),
        cmocka_unit_test(stop_finishes_what_is_in_flight),
        cmocka_unit_test(stop_cuts_off_what_takes_longer_than_the_grace),
        cmocka_unit_test(stop_waits_for_the_storage_but_not_for_a_worker),
        cmocka_unit_test(stop_in_the_middle_of_nonsense),
        cmocka_unit_test(pages_answer),
        cmocka_unit_test(host_header_cannot_inject_into_the_page),
        cmocka_unit_test(metrics_count),
        cmocka_unit_test(addresses_and_options_are_checked),
        cmocka_unit_test(a_server_with_few_files_left_still_takes_a_connection),
        cmocka_unit_test(new_survives_every_refused_allocation),
        cmocka_unit_test(executor_runs_every_task_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
