/* SPDX-License-Identifier: Apache-2.0 */
/* A handler for each test, and what is seen of every answer, whatever it is. */
#ifndef PRA_TESTS_HANDLER_FIXTURE_H
#define PRA_TESTS_HANDLER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/hosted.h"

#define S(text) ((pra_str){(text), sizeof(text) - 1})

enum { MAX_BODY = 4096, MAX_DECODED = 8192 };

static inline int set_up(void **state)
{
    const pra_limits limits = {
        .size = sizeof(limits), .max_body_bytes = MAX_BODY, .max_decoded_bytes = MAX_DECODED};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    *state = hosted_new(NULL, &opts);
    return 0;
}

static inline int tear_down(void **state)
{
    struct hosted *h = *state;
    struct hosted_storage *storage = h->storage;
    hosted_free(h);
    assert_int_equal(storage->destroyed, 1);
    hosted_storage_free(storage);
    return 0;
}

static inline pra_str header(const pra_exchange *x, const char *name)
{
    const pra_header *headers;
    size_t count = pra_exchange_headers(x, &headers);
    pra_str found = {"", 0};
    for (size_t i = 0; i < count; i++)
        if (headers[i].name.len == strlen(name) &&
            memcmp(headers[i].name.ptr, name, strlen(name)) == 0)
            found = headers[i].value;
    return found;
}

static inline void assert_header(const pra_exchange *x, const char *name, const char *value)
{
    pra_str found = header(x, name);
    if (found.len != strlen(value) || memcmp(found.ptr, value, found.len) != 0)
        fail_msg("%s: %.*s, not %s", name, (int)found.len, found.ptr, value);
}

/* W-25: all three, once each, a number, for 2.0 once that is settled; W-26: else none. */
static inline void assert_written_headers(const pra_exchange *x, const pra_exchange_stats *stats)
{
    static const char prefix[] = "X-Prometheus-Remote-Write-";
    const pra_header *headers;
    size_t count = pra_exchange_headers(x, &headers);
    int found = 0;
    for (size_t i = 0; i < count; i++) {
        if (headers[i].name.len < sizeof(prefix) - 1 ||
            memcmp(headers[i].name.ptr, prefix, sizeof(prefix) - 1) != 0)
            continue;
        assert_in_range(headers[i].value.len, 1, 20);
        for (size_t k = 0; k < headers[i].value.len; k++)
            assert_in_range(headers[i].value.ptr[k], '0', '9');
        found++;
    }
    int v2 = stats->endpoint == PRA_ENDPOINT_WRITE && stats->version == PRA_WRITE_V2;
    assert_int_equal(found, v2 ? 3 : 0);
}

/* The whole body; a streamed one is gathered. */
static inline void take_body(struct hosted *h)
{
    pra_exchange *x = h->x;
    uint64_t announced = pra_exchange_body_length(x);
    const void *piece = NULL;
    size_t len = 0;
    int rc = pra_exchange_body(x, &piece, &len);
    if (announced == UINT64_MAX) {
        if (!h->gathered)
            assert_int_equal(pra_buffer_new(NULL, &h->gathered), PRA_OK);
        pra_buffer_reset(h->gathered);
        for (; rc == PRA_OK; rc = pra_exchange_body(x, &piece, &len)) {
            assert_true(len > 0);
            assert_int_equal(pra_buffer_append(h->gathered, piece, len), PRA_OK);
        }
        h->answer = (pra_str){pra_buffer_data(h->gathered), pra_buffer_len(h->gathered)};
    } else {
        assert_int_equal(rc, announced ? PRA_OK : PRA_DONE);
        assert_int_equal(len, announced);
        h->answer = (pra_str){piece, len};
    }
    assert_int_equal(pra_exchange_body(x, &piece, &len), PRA_DONE);
    assert_int_equal(pra_exchange_body_length(x), announced);
}

/* One line of text, below 4 KiB, that ends where it says it does. */
static inline void assert_error_body(pra_exchange *x, pra_str body)
{
    assert_in_range(body.len, 2, 4095);
    assert_ptr_equal(memchr(body.ptr, '\n', body.len), body.ptr + body.len - 1);
    for (size_t i = 0; i + 1 < body.len; i++)
        assert_false((unsigned char)body.ptr[i] < 0x20);
    assert_header(x, "Content-Type", "text/plain; charset=utf-8");
    assert_true(pra_exchange_error(x)->code != 0);
    assert_true(pra_exchange_error(x)->message[0] != 0);
}

static inline void check_answer(struct hosted *h, int status)
{
    pra_exchange *x = h->x;
    pra_exchange_stats stats = {.size = sizeof(stats)};
    if (pra_exchange_status(x) != status)
        fail_msg("status %d, not %d: %s", pra_exchange_status(x), status,
                 pra_exchange_error(x)->message);
    assert_int_equal(pra_exchange_step(x), PRA_STEP_RESPOND);
    take_body(h);
    if (status >= 400)
        assert_error_body(x, h->answer);
    else
        assert_int_equal(pra_exchange_error(x)->code, 0);
    if (status == 204) /* W-20 */
        assert_int_equal(h->answer.len, 0);
    assert_int_equal(pra_exchange_get_stats(x, &stats), PRA_OK);
    assert_int_equal(stats.response_bytes, h->answer.len);
    assert_written_headers(x, &stats);
    assert_int_equal(stats.status, status);
    assert_int_equal(stats.code, pra_exchange_error(x)->code);
    /* Too late for all of these. */
    assert_int_equal(pra_exchange_run(x), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_finish(x, 0, NULL), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_feed(x, "x", 1), PRA_DONE);
    assert_int_equal(pra_exchange_end(x), PRA_DONE);
    assert_null(pra_exchange_write_request(x));
    assert_null(pra_exchange_write_result(x));
    assert_null(pra_exchange_read_request(x));
    assert_null(pra_exchange_sink(x, 0));
}

/* Driven and stepped, the body whole and byte by byte. */
static const struct hosted_way ways[] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
