/* SPDX-License-Identifier: Apache-2.0 */
/* One write and one read through a handler, driven and stepped: the way a host uses it. The table
 * of rules is in test_handler_rules.c and test_handler_outcomes.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"

#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

/* ── A storage that remembers one sample ── */

struct toy {
    int64_t timestamp_ms;
    double value;
    int writes;
    int destroyed;
    pra_exchange *inside; /* an exchange to misuse from within a callback */
};

static int toy_write(void *self, const pra_context *ctx, const pra_write_request *request,
                     pra_write_result *result, pra_error *err)
{
    struct toy *toy = self;
    pra_columns c = {.size = sizeof(c)};
    pra_str tenant;
    (void)err;
    assert_int_equal(pra_write_request_columns(request, &c), PRA_OK);
    pra_context_tenant(ctx, &tenant);
    assert_int_equal(tenant.len, 2);
    toy->writes++;
    for (size_t i = 0; i < c.sample_count; i++) {
        toy->timestamp_ms = c.timestamps_ms[i];
        toy->value = c.values[i];
        if (toy->value < 0)
            pra_write_result_reject(result, PRA_DATUM_SAMPLE, 0, 1, (pra_str)S("too cold"));
    }
    if (toy->inside) {
        pra_request_head head = {.size = sizeof(head)};
        assert_int_equal(pra_exchange_begin(toy->inside, &head), PRA_ERR_BUSY);
        assert_int_equal(pra_exchange_run(toy->inside), PRA_ERR_BUSY);
        assert_int_equal(pra_exchange_finish(toy->inside, 0, NULL), PRA_ERR_BUSY);
    }
    return PRA_OK;
}

static int toy_query(void *self, const pra_context *ctx, const pra_query *query,
                     pra_series_sink *sink, pra_error *err)
{
    struct toy *toy = self;
    const pra_label labels[] = {{S("__name__"), S("up")}};
    (void)ctx;
    if (!pra_query_matches(query, labels, 1))
        return PRA_OK;
    return pra_series_sink_add(sink, labels, 1, &toy->timestamp_ms, &toy->value, 1, err);
}

static void toy_destroy(void *self)
{
    ((struct toy *)self)->destroyed++;
}

static const pra_storage_vtbl toy_vtbl = {
    .size = sizeof(toy_vtbl),
    .write = toy_write,
    .process_query = toy_query,
    .destroy = toy_destroy,
};

/* ── Bodies ── */

static pra_buffer *snappy_of(pra_write_request *req)
{
    pra_buffer *plain;
    pra_buffer *body;
    assert_int_equal(pra_buffer_new(NULL, &plain), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &body), PRA_OK);
    assert_int_equal(pra_write_request_encode(req, PRA_WRITE_V1, plain, NULL), PRA_OK);
    assert_int_equal(pra_snappy_compress(pra_buffer_data(plain), pra_buffer_len(plain), body, NULL),
                     PRA_OK);
    pra_write_request_free(req);
    pra_buffer_free(plain);
    return body;
}

static pra_buffer *write_body(double value)
{
    pra_write_request *req;
    const pra_label labels[] = {{S("__name__"), S("up")}};
    const int64_t t = 1000;
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, labels, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, &t, &value, NULL, 1), PRA_OK);
    return snappy_of(req);
}

/* A sample in one series, two native histograms in another. */
static pra_buffer *histogram_body(void)
{
    pra_write_request *req;
    const pra_label labels[] = {{S("__name__"), S("h")}};
    const int64_t t = 1000;
    const double value = 1;
    const pra_histogram histogram = {.timestamp_ms = 1, .sum = 2};
    const uint32_t offsets[] = {0, 1};
    const pra_columns source = {.size = sizeof(source),
                                .series_count = 1,
                                .histogram_offsets = offsets,
                                .histograms = &histogram,
                                .histogram_count = 1};
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, labels, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, &t, &value, NULL, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, labels, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_histogram(req, &source, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_histogram(req, &source, 0), PRA_OK);
    return snappy_of(req);
}

static pra_buffer *read_body(void)
{
    pra_read_request *req;
    pra_buffer *plain;
    pra_buffer *body;
    assert_int_equal(pra_read_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &plain), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &body), PRA_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pra_read_request_add_query(req, 0, 2000), PRA_OK);
        assert_int_equal(pra_read_request_add_matcher(req, i ? PRA_MATCH_EQUAL : PRA_MATCH_REGEX,
                                                      (pra_str)S("__name__"),
                                                      i ? (pra_str)S("down") : (pra_str)S("u.*")),
                         PRA_OK);
    }
    assert_int_equal(pra_read_request_encode(req, plain, NULL), PRA_OK);
    assert_int_equal(pra_snappy_compress(pra_buffer_data(plain), pra_buffer_len(plain), body, NULL),
                     PRA_OK);
    pra_read_request_free(req);
    pra_buffer_free(plain);
    return body;
}

/* ── The host's side ── */

static void send_body(pra_exchange *x, const char *target_cstr, pra_buffer *body)
{
    const pra_header headers[] = {
        {S("content-type"), S("application/x-protobuf")},
        {S("CONTENT-ENCODING"), S("snappy")},
        {S("X-Scope-OrgID"), S("t1")},
    };
    const pra_request_head head = {
        .size = sizeof(head),
        .method = S("POST"),
        .target = {target_cstr, strlen(target_cstr)},
        .headers = headers,
        .header_count = 3,
    };
    assert_int_equal(pra_exchange_begin(x, &head), PRA_OK);
    const char *bytes = pra_buffer_data(body);
    for (size_t i = 0; i < pra_buffer_len(body); i++)
        assert_int_equal(pra_exchange_feed(x, bytes + i, 1), PRA_OK);
    assert_int_equal(pra_exchange_end(x), PRA_OK);
    pra_buffer_free(body);
}

static void assert_one_series_then_none(pra_exchange *x)
{
    const void *data;
    size_t len;
    pra_read_response *resp;
    pra_columns c = {.size = sizeof(c)};
    const uint32_t *results;
    assert_int_equal(pra_exchange_status(x), 200);
    assert_int_equal(pra_exchange_body(x, &data, &len), PRA_OK);
    assert_int_equal(len, pra_exchange_body_length(x));
    assert_int_equal(pra_read_response_new(NULL, &resp), PRA_OK);
    assert_int_equal(pra_read_response_decode_snappy(resp, data, len, NULL, NULL), PRA_OK);
    assert_int_equal(pra_exchange_body(x, &data, &len), PRA_DONE);
    assert_int_equal(pra_read_response_results(resp, &results), 2);
    assert_int_equal(results[1], 1);
    assert_int_equal(results[2], 1);
    assert_int_equal(pra_read_response_columns(resp, &c), PRA_OK);
    assert_int_equal(c.sample_count, 1);
    assert_int_equal(c.timestamps_ms[0], 1000);
    assert_true(c.values[0] == 42);
    pra_read_response_free(resp);
}

struct fixture {
    struct toy toy;
    pra_handler *handler;
    pra_exchange *x;
};

static int set_up(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof(f));
    const pra_storage storage = {&toy_vtbl, &f.toy};
    assert_int_equal(pra_handler_new(NULL, &storage, NULL, &f.handler, NULL), PRA_OK);
    assert_int_equal(pra_exchange_new(f.handler, NULL, &f.x), PRA_OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pra_exchange_free(f->x);
    pra_handler_free(f->handler);
    assert_int_equal(f->toy.destroyed, 1);
    return 0;
}

static void driven_write_then_read(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 3; round++) {
        send_body(f->x, "/api/v1/write", write_body(42));
        assert_int_equal(pra_exchange_step(f->x), PRA_STEP_WRITE);
        assert_int_equal(pra_exchange_run(f->x), PRA_OK);
        assert_int_equal(pra_exchange_status(f->x), 204);
        assert_int_equal(pra_exchange_body_length(f->x), 0);

        send_body(f->x, "/api/v1/read", read_body());
        assert_int_equal(pra_exchange_run(f->x), PRA_OK);
        assert_one_series_then_none(f->x);
    }
    assert_int_equal(f->toy.writes, 3);
}

static void stepped_write_then_read(void **state)
{
    struct fixture *f = *state;
    send_body(f->x, "/write", write_body(42));
    const pra_context *ctx = pra_exchange_context(f->x);
    assert_int_equal(toy_write(&f->toy, ctx, pra_exchange_write_request(f->x),
                               pra_exchange_write_result(f->x), NULL),
                     PRA_OK);
    assert_null(pra_exchange_read_request(f->x));
    assert_int_equal(pra_exchange_finish(f->x, PRA_OK, NULL), PRA_OK);
    assert_int_equal(pra_exchange_status(f->x), 204);
    assert_int_equal(pra_exchange_finish(f->x, PRA_OK, NULL), PRA_ERR_STATE);

    send_body(f->x, "/read", read_body());
    const pra_read_request *read = pra_exchange_read_request(f->x);
    assert_int_equal(pra_read_request_query_count(read), 2);
    for (size_t i = 2; i-- > 0;)
        assert_int_equal(toy_query(&f->toy, ctx, pra_read_request_query(read, i),
                                   pra_exchange_sink(f->x, i), NULL),
                         PRA_OK);
    assert_null(pra_exchange_sink(f->x, 2));
    assert_int_equal(pra_exchange_finish(f->x, PRA_OK, NULL), PRA_OK);
    assert_one_series_then_none(f->x);
}

static void W22_what_the_storage_refuses_is_told_by_name(void **state)
{
    struct fixture *f = *state;
    const void *data;
    size_t len;
    send_body(f->x, "/write", write_body(-1));
    assert_int_equal(pra_exchange_run(f->x), PRA_OK);
    assert_int_equal(pra_exchange_status(f->x), 400);
    assert_int_equal(pra_exchange_body(f->x, &data, &len), PRA_OK);
    const char want[] = "refused: 1 samples: too cold {__name__=\"up\"}\n";
    assert_int_equal(len, sizeof(want) - 1);
    assert_memory_equal(data, want, len);
    assert_int_equal(pra_exchange_error(f->x)->code, PRA_ERR_REJECT);
}

static void histograms_are_acknowledged_only_if_the_storage_keeps_them(void **state)
{
    struct fixture *f = *state;
    const void *data;
    size_t len;
    send_body(f->x, "/write", histogram_body());
    assert_int_equal(pra_exchange_run(f->x), PRA_OK);
    assert_int_equal(f->toy.writes, 1);
    assert_true(f->toy.value == 1);
    assert_int_equal(pra_exchange_status(f->x), 400);
    assert_int_equal(pra_exchange_body(f->x, &data, &len), PRA_OK);
    const char want[] =
        "refused: 2 histograms: this storage does not keep native histograms {__name__=\"h\"}\n";
    assert_int_equal(len, sizeof(want) - 1);
    assert_memory_equal(data, want, len);

    struct toy keeper = {0};
    pra_storage_vtbl vtbl = toy_vtbl;
    vtbl.flags = PRA_STORAGE_HISTOGRAMS;
    const pra_storage storage = {&vtbl, &keeper};
    pra_handler *handler;
    pra_exchange *x;
    assert_int_equal(pra_handler_new(NULL, &storage, NULL, &handler, NULL), PRA_OK);
    assert_int_equal(pra_exchange_new(handler, NULL, &x), PRA_OK);
    send_body(x, "/write", histogram_body());
    assert_int_equal(pra_exchange_run(x), PRA_OK);
    assert_int_equal(pra_exchange_status(x), 204);
    pra_exchange_free(x);
    pra_handler_free(handler);
}

static void an_exchange_used_from_its_own_callback_is_busy(void **state)
{
    struct fixture *f = *state;
    f->toy.inside = f->x;
    send_body(f->x, "/write", write_body(1));
    assert_int_equal(pra_exchange_run(f->x), PRA_OK);
    assert_int_equal(pra_exchange_status(f->x), 204);
}

static void a_storage_is_destroyed_when_its_handler_cannot_be_made(void **state)
{
    (void)state;
    struct toy toy = {0};
    pra_handler *handler = NULL;
    pra_error err = {0};
    const pra_storage storage = {&toy_vtbl, &toy};
    const struct {
        pra_handler_opts known;
        uint64_t unknown;
    } newer = {{.size = sizeof(newer)}, 1};
    assert_int_equal(pra_handler_new(NULL, &storage, &newer.known, &handler, &err),
                     PRA_ERR_UNSUPPORTED_OPTION);
    assert_int_equal(toy.destroyed, 1);
    assert_null(handler);
    assert_int_equal(err.code, PRA_ERR_UNSUPPORTED_OPTION);
    assert_int_equal(pra_handler_new(NULL, &storage, NULL, NULL, &err), PRA_ERR_INVALID_ARG);
    assert_int_equal(toy.destroyed, 2);
}

/* What a caller with a newer header reads of its own fields is zero, not what was there before. */
static void what_is_not_known_here_is_handed_out_as_zero(void **state)
{
    struct fixture *f = *state;
    struct {
        pra_limits known;
        uint64_t unknown;
    } limits;
    struct {
        pra_exchange_stats known;
        uint64_t unknown;
    } stats;
    memset(&limits, 0xFF, sizeof(limits));
    memset(&stats, 0xFF, sizeof(stats));
    limits.known.size = sizeof(limits);
    stats.known.size = sizeof(stats);
    assert_int_equal(pra_handler_limits(f->handler, &limits.known), PRA_OK);
    assert_int_equal(pra_exchange_get_stats(f->x, &stats.known), PRA_OK);
    assert_int_equal(limits.known.size, sizeof(limits));
    assert_int_equal(limits.known.max_queries, 100);
    assert_int_equal(limits.unknown, 0);
    assert_int_equal(stats.known.size, sizeof(stats));
    assert_int_equal(stats.known.status, 0);
    assert_int_equal(stats.unknown, 0);
    stats.known.size = limits.known.size = 4;
    assert_int_equal(pra_handler_limits(f->handler, &limits.known), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_exchange_get_stats(f->x, &stats.known), PRA_ERR_INVALID_ARG);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(driven_write_then_read),
        TEST(stepped_write_then_read),
        TEST(W22_what_the_storage_refuses_is_told_by_name),
        TEST(histograms_are_acknowledged_only_if_the_storage_keeps_them),
        TEST(an_exchange_used_from_its_own_callback_is_busy),
        TEST(what_is_not_known_here_is_handed_out_as_zero),
        cmocka_unit_test(a_storage_is_destroyed_when_its_handler_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
