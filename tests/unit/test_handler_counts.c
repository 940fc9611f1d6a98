/* SPDX-License-Identifier: Apache-2.0 */
/* Remote write 2.0 through a handler: which versions are taken, and what the answer says was
 * written, by what the storage keeps and refuses (W-03, W-04, W-21, W-23, W-25, W-26). */
#include "handler_fixture.h"
#include "support/failing_alloc.h"

/* ── A storage that refuses what it is told to ── */

struct picky {
    int code;
    uint32_t retry_after;
    int reject[3]; /* of each kind, one at a time */
    int whole;     /* series from the first on */
    int writes;
};

static int picky_write(void *self, const pra_context *ctx, const pra_write_request *request,
                       pra_write_result *result, pra_error *err)
{
    struct picky *p = self;
    (void)ctx, (void)request;
    p->writes++;
    for (int32_t kind = 0; kind < 3; kind++)
        for (int i = 0; i < p->reject[kind]; i++)
            pra_write_result_reject(result, kind, 0, 1, S("not this"));
    for (int i = 0; i < p->whole; i++)
        pra_write_result_reject(result, PRA_DATUM_SERIES, (size_t)i, 0, S("not this one"));
    if (p->code) {
        pra_error_set_cstr(err, p->code, "no");
        err->retry_after_s = p->retry_after;
    }
    return p->code;
}

static int picky_query(void *self, const pra_context *ctx, const pra_query *query,
                       pra_series_sink *sink, pra_error *err)
{
    struct picky *p = self;
    (void)ctx, (void)query, (void)sink;
    pra_error_set_cstr(err, p->code, "no");
    err->retry_after_s = p->retry_after;
    return p->code;
}

enum { KEEPS_ALL = PRA_STORAGE_HISTOGRAMS | PRA_STORAGE_EXEMPLARS };

static struct hosted *over(struct picky *picky, pra_storage_vtbl *vtbl, uint32_t flags,
                           const pra_handler_opts *opts)
{
    *vtbl = (pra_storage_vtbl){
        .size = sizeof(*vtbl), .flags = flags, .write = picky_write, .process_query = picky_query};
    const pra_storage storage = {vtbl, picky};
    struct hosted *h = hosted_over(NULL, &storage, opts);
    assert_non_null(h);
    return h;
}

/* Two samples, one histogram and three exemplars in two series. */
static pra_write_request *mixed(void)
{
    const pra_label a[] = {{S("__name__"), S("a")}};
    const pra_label b[] = {{S("__name__"), S("b")}};
    const pra_label trace[] = {{S("trace_id"), S("1")}};
    const int64_t t[] = {1, 2};
    const double v[] = {1, 2};
    const pra_histogram histogram = {.timestamp_ms = 1, .sum = 2};
    const uint32_t offsets[] = {0, 1};
    const pra_columns source = {.size = sizeof(source),
                                .series_count = 1,
                                .histogram_offsets = offsets,
                                .histograms = &histogram,
                                .histogram_count = 1};
    pra_write_request *request;
    assert_int_equal(pra_write_request_new(NULL, &request), PRA_OK);
    assert_int_equal(pra_write_request_add_series(request, a, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(request, t, v, NULL, 2), PRA_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pra_write_request_add_exemplar(request, trace, 1, 1 + i, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_series(request, b, 1), PRA_OK);
    assert_int_equal(pra_write_request_add_histogram(request, &source, 0), PRA_OK);
    return request;
}

static void assert_written(struct hosted *h, const char *samples, const char *histograms,
                           const char *exemplars)
{
    assert_header(h->x, "X-Prometheus-Remote-Write-Samples-Written", samples);
    assert_header(h->x, "X-Prometheus-Remote-Write-Histograms-Written", histograms);
    assert_header(h->x, "X-Prometheus-Remote-Write-Exemplars-Written", exemplars);
}

static const struct hosted_way driven = {0, 0};

/* ── Counts ── */

static void W25_counts_by_what_the_storage_keeps_and_refuses(void **state)
{
    static const struct {
        const char *rule;
        uint32_t flags;
        struct picky picky;
        int status;
        const char *samples, *histograms, *exemplars;
    } cases[] = {
        {"all", KEEPS_ALL, {0}, 204, "2", "1", "3"},
        {"W-21 no histograms", PRA_STORAGE_EXEMPLARS, {0}, 400, "2", "0", "3"},
        {"W-21 no exemplars", PRA_STORAGE_HISTOGRAMS, {0}, 400, "2", "1", "0"},
        {"W-21 samples only", 0, {0}, 400, "2", "0", "0"},
        {"W-22 one sample refused", KEEPS_ALL, {.reject = {1, 0, 0}}, 400, "1", "1", "3"},
        {"W-22 some of each", KEEPS_ALL, {.reject = {2, 1, 1}}, 400, "0", "0", "2"},
        {"W-22 a whole series", KEEPS_ALL, {.whole = 1}, 400, "0", "1", "0"},
        {"W-22 all series and one more", KEEPS_ALL, {.whole = 3}, 400, "0", "0", "0"},
        {"more than there are", KEEPS_ALL, {.reject = {9, 9, 9}}, 400, "0", "0", "0"},
        {"W-24 later", KEEPS_ALL, {.code = PRA_ERR_RETRY}, 503, "0", "0", "0"},
        {"W-24 later, some refused",
         0,
         {.code = PRA_ERR_RETRY, .reject = {1, 0, 0}},
         503,
         "0",
         "0",
         "0"},
        {"refused", KEEPS_ALL, {.code = PRA_ERR_REJECT}, 400, "0", "0", "0"},
        {"exception", KEEPS_ALL, {.code = PRA_ERR_USER}, 500, "0", "0", "0"},
        {"no entry", KEEPS_ALL, {.code = PRA_ERR_NOT_SUPPORTED}, 404, "0", "0", "0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct picky picky = cases[i].picky;
        pra_storage_vtbl vtbl;
        struct hosted *h = over(&picky, &vtbl, cases[i].flags, NULL);
        hosted_post_write(h, PRA_WRITE_V2, mixed(), driven);
        if (pra_exchange_status(h->x) != cases[i].status)
            fail_msg("%s: %d (%s)", cases[i].rule, pra_exchange_status(h->x),
                     pra_exchange_error(h->x)->message);
        assert_int_equal(picky.writes, 1);
        check_answer(h, cases[i].status);
        assert_written(h, cases[i].samples, cases[i].histograms, cases[i].exemplars);
        hosted_free(h);
    }
}

/* 1.0 has no headers, and exemplars that are not kept go unsaid. */
static void W26_version_1_has_none(void **state)
{
    (void)state;
    struct picky picky = {0};
    pra_storage_vtbl vtbl;
    struct hosted *h = over(&picky, &vtbl, PRA_STORAGE_HISTOGRAMS, NULL);
    hosted_post_write(h, PRA_WRITE_V1, mixed(), driven);
    check_answer(h, 204);
    picky.reject[0] = 1;
    hosted_post_write(h, PRA_WRITE_V1, mixed(), driven);
    check_answer(h, 400);
    hosted_free(h);
}

/* Nor do bad ones make the request a bad one: with whom they are kept they do. */
static void W21_bad_exemplars_of_version_1_matter_where_they_are_kept(void **state)
{
    (void)state;
    const pra_label up[] = {{S("__name__"), S("up")}};
    const pra_label bad[] = {{S("a\xff"), S("1")}};
    for (uint32_t flags = 0; flags <= PRA_STORAGE_EXEMPLARS; flags += PRA_STORAGE_EXEMPLARS) {
        struct picky picky = {0};
        pra_storage_vtbl vtbl;
        pra_write_request *request;
        const int64_t t = 1;
        const double v = 1;
        struct hosted *h = over(&picky, &vtbl, flags, NULL);
        assert_int_equal(pra_write_request_new(NULL, &request), PRA_OK);
        assert_int_equal(pra_write_request_add_series(request, up, 1), PRA_OK);
        assert_int_equal(pra_write_request_add_samples(request, &t, &v, NULL, 1), PRA_OK);
        assert_int_equal(pra_write_request_add_exemplar(request, bad, 1, t, v), PRA_OK);
        hosted_post_write(h, PRA_WRITE_V1, request, driven);
        check_answer(h, flags ? 400 : 204);
        assert_int_equal(picky.writes, 1);
        hosted_free(h);
    }
}

static void W09_empty_requests_of_both_versions(void **state)
{
    (void)state;
    struct picky picky = {0};
    pra_storage_vtbl vtbl;
    struct hosted *h = over(&picky, &vtbl, 0, NULL);
    for (int32_t version = PRA_WRITE_V1; version <= PRA_WRITE_V2; version++) {
        pra_write_request *request;
        assert_int_equal(pra_write_request_new(NULL, &request), PRA_OK);
        hosted_post_write(h, version, request, driven);
        check_answer(h, 204);
        if (version == PRA_WRITE_V2)
            assert_written(h, "0", "0", "0");
    }
    hosted_free(h);
}

static void W10_metadata_alone_is_a_request(void **state)
{
    (void)state;
    struct picky picky = {0};
    pra_storage_vtbl vtbl;
    struct hosted *h = over(&picky, &vtbl, 0, NULL);
    pra_write_request *request;
    pra_exchange_stats stats = {.size = sizeof(stats)};
    assert_int_equal(pra_write_request_new(NULL, &request), PRA_OK);
    assert_int_equal(pra_write_request_add_metadata(request, PRA_METRIC_COUNTER, S("requests"),
                                                    S("How many."), S("")),
                     PRA_OK);
    hosted_post_write(h, PRA_WRITE_V1, request, driven);
    check_answer(h, 204);
    assert_int_equal(picky.writes, 1);
    assert_int_equal(pra_exchange_get_stats(h->x, &stats), PRA_OK);
    assert_int_equal(stats.metadata, 1);
    hosted_free(h);
}

/* ── Which messages are taken ── */

#define TYPE_OF(version)                                                                           \
    ((version) == PRA_WRITE_V2 ? "content-type: application/x-protobuf;"                           \
                                 "proto=io.prometheus.write.v2.Request\n"                          \
                               : "content-type: application/x-protobuf\n")

/* 415 before the body is looked at: it is no snappy block. */
static void W04_a_message_that_is_not_accepted(void **state)
{
    (void)state;
    for (int32_t only = PRA_WRITE_V1; only <= PRA_WRITE_V2; only++) {
        const pra_handler_opts opts = {.size = sizeof(opts), .accepted_messages = 1u << only};
        const int32_t other = only == PRA_WRITE_V1 ? PRA_WRITE_V2 : PRA_WRITE_V1;
        struct picky picky = {0};
        pra_storage_vtbl vtbl;
        struct hosted *h = over(&picky, &vtbl, KEEPS_ALL, &opts);
        hosted_exchange(h, "POST", "/write", TYPE_OF(other), S("\xff\xff"), driven);
        check_answer(h, 415);
        assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_CONTENT_TYPE);
        hosted_exchange(h, "POST", "/write", TYPE_OF(only), S("\xff\xff"), driven);
        check_answer(h, 400);
        assert_int_equal(picky.writes, 0);
        hosted_post_write(h, only, mixed(), driven);
        check_answer(h, 204);
        hosted_free(h);
    }
}

static void W04_no_content_type_is_version_1(void **state)
{
    (void)state;
    const pra_handler_opts opts = {.size = sizeof(opts), .accepted_messages = 1u << PRA_WRITE_V2};
    struct picky picky = {0};
    pra_storage_vtbl vtbl;
    struct hosted *h = over(&picky, &vtbl, KEEPS_ALL, &opts);
    hosted_exchange(h, "POST", "/write", "", S("\x00"), driven);
    check_answer(h, 415);
    hosted_free(h);
}

static void options_that_cannot_be(void **state)
{
    (void)state;
    static const char *const names[] = {"replica"};
    const pra_label empty[] = {{S("a"), S("")}};
    const pra_label twice[] = {{S("a"), S("1")}, {S("a"), S("2")}};
    const pra_label bad[] = {{S("a"), S("\xff")}};
    const pra_handler_opts cases[] = {
        {.size = sizeof(pra_handler_opts), .accepted_messages = 1},
        {.size = sizeof(pra_handler_opts), .response_types = 4},
        {.size = sizeof(pra_handler_opts), .read_delay_ms = 1},
        {.size = sizeof(pra_handler_opts), .read_max_age_ms = 1},
        {.size = sizeof(pra_handler_opts), .external_labels = empty, .external_label_count = 1},
        {.size = sizeof(pra_handler_opts), .external_labels = twice, .external_label_count = 2},
        {.size = sizeof(pra_handler_opts), .external_labels = bad, .external_label_count = 1},
        {.size = sizeof(pra_handler_opts), .external_label_count = 1},
        {.size = sizeof(pra_handler_opts), .ignored_matcher_count = 1},
    };
    const pra_handler_opts good = {.size = sizeof(good),
                                   .ignored_matchers_cstr = names,
                                   .ignored_matcher_count = 1,
                                   .external_labels = twice,
                                   .external_label_count = 1};
    const pra_storage_vtbl half = {.size = sizeof(half), .fetch = NULL, .select = NULL};
    const pra_storage storage = {&half, NULL};
    pra_handler *handler = NULL;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pra_error err = {0};
        int rc = pra_handler_new(NULL, &storage, &cases[i], &handler, &err);
        if (rc != PRA_ERR_INVALID_ARG && rc != PRA_ERR_UNSUPPORTED_OPTION)
            fail_msg("case %zu: %d", i, rc);
        assert_int_equal(err.code, rc);
        assert_null(handler);
    }
    assert_int_equal(pra_handler_new(NULL, &storage, &good, &handler, NULL), PRA_OK);
    pra_handler_free(handler);
}

/* ── Retry-After ── */

static void W23_retry_after_of_writes_and_reads(void **state)
{
    (void)state;
    struct picky picky = {.code = PRA_ERR_RETRY, .retry_after = 17};
    pra_storage_vtbl vtbl;
    struct hosted *h = over(&picky, &vtbl, KEEPS_ALL, NULL);
    hosted_post_write(h, PRA_WRITE_V2, mixed(), driven);
    check_answer(h, 503);
    assert_header(h->x, "Retry-After", "17");
    hosted_read(h, "a", driven);
    check_answer(h, 503);
    assert_header(h->x, "Retry-After", "17");
    picky.code = PRA_ERR_REJECT; /* there is nothing to wait for */
    hosted_read(h, "a", driven);
    check_answer(h, 400);
    assert_header(h->x, "Retry-After", "");
    picky.code = PRA_ERR_IO;
    hosted_read(h, "a", driven);
    check_answer(h, 503);
    assert_header(h->x, "Retry-After", "17");
    hosted_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(W25_counts_by_what_the_storage_keeps_and_refuses),
        cmocka_unit_test(W26_version_1_has_none),
        cmocka_unit_test(W21_bad_exemplars_of_version_1_matter_where_they_are_kept),
        cmocka_unit_test(W09_empty_requests_of_both_versions),
        cmocka_unit_test(W10_metadata_alone_is_a_request),
        cmocka_unit_test(W04_a_message_that_is_not_accepted),
        cmocka_unit_test(W04_no_content_type_is_version_1),
        cmocka_unit_test(options_that_cannot_be),
        cmocka_unit_test(W23_retry_after_of_writes_and_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
