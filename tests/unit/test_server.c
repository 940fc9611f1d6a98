/* SPDX-License-Identifier: Apache-2.0 */
/* What the server answers, well-formed requests and others. */
#include "server_fixture.h"

/* ---- requests */

static void write_is_answered_with_the_headers_of_the_exchange(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    struct http_answer a;
    char value[64];
    start_default(&f);
    http_open(&c, f.port);
    assert_true(http_post(&c, "/api/v1/write", PROTO, write_body, WRITE_LEN));
    http_read(&c, &a, 0);
    assert_int_equal(a.status, 204);
    assert_int_equal(a.body_len, 0);
    assert_non_null(http_header(&a, "Date", value, sizeof(value)));
    assert_null(http_header(&a, "Content-Type", value, sizeof(value)));
    assert_null(http_header(&a, "Connection", value, sizeof(value)));
    assert_int_equal(f.store.samples, 1);
    assert_memory_equal(f.store.remote, "127.0.0.1:", 10);
    free(a.body);
    http_close(&c);
    finish(&f);
}

static void reads_small_and_large_answers(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    start_default(&f);
    http_open(&c, f.port);
    assert_int_equal(read_samples(&c), 3);
    f.store.answer_samples = 200000; /* some 2 MB */
    for (int i = 0; i < 3; i++)
        assert_int_equal(read_samples(&c), 200000);
    assert_int_equal(post(&c, write_body, WRITE_LEN), 204);
    http_close(&c);
    finish(&f);
}

static void connection_serves_many_requests(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    start_default(&f);
    http_open(&c, f.port);
    for (int i = 0; i < 200; i++)
        assert_int_equal(post(&c, write_body, WRITE_LEN), 204);
    assert_int_equal(f.store.samples, 200);
    http_close(&c);
    finish(&f);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    start_default(&f);
    http_open(&c, f.port);
    for (int i = 0; i < 30; i++)
        assert_true(i % 3 ? http_post(&c, "/write", PROTO, write_body, WRITE_LEN)
                          : http_post(&c, "/write", PROTO, "junk", 4));
    for (int i = 0; i < 30; i++)
        assert_int_equal(status_of(&c), i % 3 ? 204 : 400);
    http_close(&c);
    finish(&f);
}

static void connection_goes_on_after_an_error(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    start_default(&f);
    http_open(&c, f.port);
    assert_int_equal(post(&c, "junk", 4), 400);
    assert_true(http_post(&c, "/write", "Content-Type: text/plain\r\n", write_body, WRITE_LEN));
    assert_int_equal(status_of(&c), 415);
    assert_true(http_post(&c, "/nowhere", PROTO, write_body, WRITE_LEN));
    assert_int_equal(status_of(&c), 404);
    assert_true(http_send_text(&c, "GET /api/v1/write HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(status_of(&c), 405);
    assert_int_equal(post(&c, write_body, WRITE_LEN), 204);
    http_close(&c);
    finish(&f);
}

static void http_1_0_is_served_and_closed(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    char head[256];
    start_default(&f);
    http_open(&c, f.port);
    (void)snprintf(head, sizeof(head),
                   "POST /write HTTP/1.0\r\nContent-Length: %d\r\n" PROTO "\r\n", WRITE_LEN);
    assert_true(http_send_text(&c, head));
    assert_true(http_send(&c, write_body, WRITE_LEN));
    assert_int_equal(status_of(&c), 204);
    assert_true(http_ends(&c));
    http_close(&c);
    finish(&f);
}

/* ---- bodies */

static void send_chunk(struct http_client *c, const void *data, size_t len)
{
    char size[32];
    (void)snprintf(size, sizeof(size), "%zx\r\n", len);
    (void)http_send_text(c, size);
    (void)http_send(c, data, len);
    (void)http_send_text(c, "\r\n");
}

static void begin_chunked(struct http_client *c)
{
    assert_true(http_send_text(c, "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO
                                  "Transfer-Encoding: chunked\r\n\r\n"));
}

static void chunked_bodies_are_taken_and_bounded(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    static char many[3000];
    prepare(&f);
    f.limits.max_body_bytes = 2000;
    start(&f);
    http_open(&c, f.port);
    begin_chunked(&c);
    for (int i = 0; i < WRITE_LEN; i++)
        send_chunk(&c, write_body + i, 1);
    send_chunk(&c, "", 0);
    assert_int_equal(status_of(&c), 204);
    assert_true(http_ends(&c)); /* its framing is not seen */
    http_close(&c);
    http_open(&c, f.port); /* cut off without its end */
    begin_chunked(&c);
    send_chunk(&c, many, sizeof(many));
    assert_int_equal(status_of(&c), 413);
    assert_true(http_ends(&c));
    http_close(&c);
    http_open(&c, f.port); /* and readable to a client that sends all of it first */
    begin_chunked(&c);
    for (int i = 0; i < 1000; i++)
        send_chunk(&c, many, sizeof(many));
    send_chunk(&c, "", 0);
    assert_int_equal(status_of(&c), 413);
    http_close(&c);
    await_metric(&f, "pra_requests_total{endpoint=\"write\",version=\"1.0\",code=\"413\"} 2\n");
    await_metric(&f, "pra_pending_bytes 0\n");
    finish(&f);
}

static void too_large_a_body_is_refused_before_it_is_sent(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    static char part[100000];
    start_default(&f);
    http_open(&c, f.port);
    assert_true(http_send_text(&c, "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO
                                   "Content-Length: 999999999999\r\n\r\n"));
    assert_int_equal(status_of(&c), 413);
    assert_true(http_ends(&c));
    http_close(&c);

    /* A client that reads only when it has sent everything, however long that takes, is not reset
     * before it can. */
    http_open(&c, f.port);
    assert_true(http_send_text(&c, "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO
                                   "Content-Length: 40000000\r\n\r\n"));
    for (int i = 0; i < 400; i++) {
        assert_true(http_send(&c, part, sizeof(part)));
        pause_ms(6);
    }
    assert_int_equal(status_of(&c), 413);
    http_close(&c);
    assert_serves(&f);
    finish(&f);
}

static void expect_is_answered(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client c;
    char head[256];
    start_default(&f);
    http_open(&c, f.port);
    (void)snprintf(head, sizeof(head),
                   "POST /write HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                   "Content-Length: %d\r\n" PROTO "\r\n",
                   WRITE_LEN);
    assert_true(http_send_text(&c, head));
    assert_int_equal(status_of(&c), 100);
    assert_true(http_send(&c, write_body, WRITE_LEN));
    assert_int_equal(status_of(&c), 204);
    assert_true(http_send_text(&c, "POST /write HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                                   "Content-Length: 5\r\nContent-Type: a/b\r\n\r\n"));
    assert_int_equal(status_of(&c), 415);
    http_close(&c);
    finish(&f);
}

static void pending_bodies_are_bounded_together(void **state)
{
    (void)state;
    struct fixture f;
    struct http_client held[3], c;
    static char part[60000];
    prepare(&f);
    f.opts.max_pending_bytes = 200000;
    start(&f);
    for (int i = 0; i < 3; i++) {
        http_open(&held[i], f.port);
        assert_true(http_send_text(&held[i], "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO
                                             "Content-Length: 60001\r\n\r\n"));
        assert_true(http_send(&held[i], part, sizeof(part)));
    }
    await_metric(&f, "pra_pending_bytes 180003\n");
    http_open(&c, f.port);
    assert_int_equal(post(&c, part, sizeof(part)), 503);
    http_close(&c);
    for (int i = 0; i < 3; i++) {
        assert_true(http_send(&held[i], part, 1));
        assert_int_equal(status_of(&held[i]), 400);
        http_close(&held[i]);
    }
    assert_serves(&f);
    finish(&f);
}

/* ---- what must not get through */

static void ambiguous_lengths_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
        "Content-Length: 3, 3\r\n\r\nabc",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 0x3\r\n\r\nabc",
        "Content-Length: 99999999999999999999999\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Content-Length : 3\r\n\r\nabc",
        "Bad\tName: 3\r\n\r\n",
        "Content-Length:\r\n 3\r\n\r\nabc",
        "Content-Length: 3\r\n\t0\r\n\r\nabc",
        "Content: 3\r\n -Length\r\n\r\nabc",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "Transfer: chunked\r\n -Encoding\r\n\r\n0\r\n\r\n",
        "X-Scope-OrgID: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    };
    struct fixture f;
    start_default(&f);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[512];
        struct http_client c;
        (void)snprintf(text, sizeof(text), "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO "%s",
                       bad[i]);
        http_open(&c, f.port);
        assert_true(http_send_text(&c, text));
        int status = status_of(&c);
        assert_true(status == 400 || status == 413);
        assert_true(http_ends(&c));
        http_close(&c);
    }
    assert_int_equal(f.store.samples, 0);
    assert_serves(&f);
    finish(&f);
}

static void nonsense_does_not_take_the_server_down(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /write HTTP/1.1\r\n\r\n",
        "POST /write HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /write HTTP/1.1\r\n folded: 1\r\nHost: a\r\n b\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "POST /write HTTP/1.1\r\nHost: a\r\n" PROTO "Content-Length: 100\r\n\r\nshort",
    };
    struct fixture f;
    start_default(&f);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http_client c;
        http_open(&c, f.port);
        (void)http_send_text(&c, bad[i]);
        http_close(&c);
    }
    assert_int_equal(f.store.samples, 0);
    assert_serves(&f);
    finish(&f);
}

static void heads_are_bounded(void **state)
{
    (void)state;
    static const size_t sizes[] = {70000, 95000, 200000, 3000000};
    struct fixture f;
    start_default(&f);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct http_client c;
        char *filler = malloc(sizes[i]);
        memset(filler, 'a', sizes[i]);
        http_open(&c, f.port);
        (void)http_send_text(&c, "POST /write HTTP/1.1\r\nHost: a\r\nX-Filler: ");
        (void)http_send(&c, filler, sizes[i]);
        (void)http_send_text(&c, "\r\n\r\n");
        assert_int_equal(status_of(&c), 431);
        http_close(&c);
        free(filler);
    }
    assert_serves(&f);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_is_answered_with_the_headers_of_the_exchange),
        cmocka_unit_test(reads_small_and_large_answers),
        cmocka_unit_test(connection_serves_many_requests),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(connection_goes_on_after_an_error),
        cmocka_unit_test(http_1_0_is_served_and_closed),
        cmocka_unit_test(chunked_bodies_are_taken_and_bounded),
        cmocka_unit_test(too_large_a_body_is_refused_before_it_is_sent),
        cmocka_unit_test(expect_is_answered),
        cmocka_unit_test(pending_bodies_are_bounded_together),
        cmocka_unit_test(ambiguous_lengths_are_refused),
        cmocka_unit_test(nonsense_does_not_take_the_server_down),
        cmocka_unit_test(heads_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
