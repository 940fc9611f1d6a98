/* SPDX-License-Identifier: Apache-2.0 */
/* What the handler makes of whatever a storage does (W-…, R-… as in the README), and of refused
 * allocations. */
#include "handler_fixture.h"
#include "support/failing_alloc.h"

/* ── W-20 to W-28, W-32: what a storage makes of a write ── */

struct outcome {
    const char *rule;
    int code;            /* what the storage returns */
    int32_t http_status; /* what it wishes, 0 if nothing */
    uint32_t retry_after;
    int status; /* what is answered */
    const char *retry_header;
};

static const struct outcome outcomes[] = {
    {"W-20 stored", PRA_OK, 0, 0, 204, ""},
    {"W-20 a wish without a failure", PRA_OK, 500, 3, 204, ""},
    {"W-23 refused", PRA_ERR_REJECT, 0, 0, 400, ""},
    {"W-23 refused, as wished", PRA_ERR_REJECT, 422, 0, 422, ""},
    {"W-23 no Retry-After with 4xx", PRA_ERR_REJECT, 403, 7, 403, ""},
    {"W-23 429 is no refusal", PRA_ERR_REJECT, 429, 0, 400, ""},
    {"W-23 5xx is no refusal", PRA_ERR_REJECT, 500, 0, 400, ""},
    {"W-21 2xx is no refusal", PRA_ERR_REJECT, 204, 0, 400, ""},
    {"W-23 later", PRA_ERR_RETRY, 0, 0, 503, ""},
    {"W-23 later, Retry-After", PRA_ERR_RETRY, 0, 120, 503, "120"},
    {"W-23 429, Retry-After", PRA_ERR_RETRY, 429, 4294967295u, 429, "4294967295"},
    {"W-23 later, as wished", PRA_ERR_RETRY, 507, 1, 507, "1"},
    {"W-23 4xx is no retry", PRA_ERR_RETRY, 400, 0, 503, ""},
    {"W-23 2xx is no retry", PRA_ERR_RETRY, 200, 0, 503, ""},
    {"W-23 6xx is nothing", PRA_ERR_RETRY, 600, 0, 503, ""},
    {"exception", PRA_ERR_USER, 0, 0, 500, ""},
    {"exception has no wish", PRA_ERR_USER, 400, 0, 500, ""},
    {"other code", 42, 0, 0, 500, ""},
    {"other code", PRA_DONE, 0, 0, 500, ""},
    {"other code", -1, 0, 0, 500, ""},
    {"code of ours that makes no sense", PRA_ERR_PROTO, 0, 0, 500, ""},
    {"code of ours", PRA_ERR_NOMEM, 0, 0, 503, ""},
    {"code of ours", PRA_ERR_IO, 0, 9, 503, "9"},
    {"code of ours", PRA_ERR_CANCELLED, 0, 0, 503, ""},
    {"code of ours", PRA_ERR_CORRUPT, 0, 0, 500, ""},
    {"no such entry", PRA_ERR_NOT_SUPPORTED, 0, 0, 404, ""},
};

/* kind 0: sets nothing but the status; 1: a message as well; 2: one with line breaks */
static void check_outcome(struct hosted *h, const struct outcome *o, int kind,
                          struct hosted_way way)
{
    struct hosted_storage *s = h->storage;
    static const char *const messages[] = {NULL, "disk is full", "two\r\nlines\n\tand \x01 more\n"};
    s->code = o->code;
    s->http_status = o->http_status;
    s->retry_after = o->retry_after;
    s->message = messages[kind];
    hosted_write(h, S("v"), way);
    if (pra_exchange_status(h->x) != o->status)
        fail_msg("%s: %d, not %d", o->rule, pra_exchange_status(h->x), o->status);
    check_answer(h, o->status);
    assert_header(h->x, "Retry-After", o->retry_header);
    if (kind == 1 && o->status >= 400)
        assert_memory_equal(h->answer.ptr, "disk is full\n", 13);
    if (!way.stepped)
        assert_int_equal(h->ran, o->code == PRA_ERR_USER ? PRA_ERR_USER : PRA_OK);
    hosted_read(h, "v", way); /* the same outcomes hold for reads */
    check_answer(h, o->status == 204 ? 200 : o->status);
    assert_header(h->x, "Retry-After", o->retry_header);
}

static void table_of_outcomes(void **state)
{
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
        for (int kind = 0; kind < 3; kind++)
            for (size_t way = 0; way < 4; way++)
                check_outcome(*state, &outcomes[i], kind, ways[way]);
}

static void W22_partly_stored(void **state)
{
    struct hosted *h = *state;
    for (size_t way = 0; way < 4; way++) {
        h->storage->reject = 1;
        h->storage->reason = S("too old\n");
        hosted_write(h, S("va\"l\nue"), ways[way]);
        check_answer(h, 400);
        assert_non_null(strstr(pra_exchange_error(h->x)->message, "too old"));
        assert_non_null(strstr(pra_exchange_error(h->x)->message, "1 samples"));
        pra_exchange_stats stats = {.size = sizeof(stats)};
        assert_int_equal(pra_exchange_get_stats(h->x, &stats), PRA_OK);
        assert_int_equal(stats.rejected_samples, 1);
    }
    static char long_reason[100000];
    memset(long_reason, 'x', sizeof(long_reason));
    h->storage->reject = 1000;
    h->storage->reason = (pra_str){long_reason, sizeof(long_reason)};
    hosted_write(h, S("v"), ways[0]);
    check_answer(h, 400);
    assert_in_range(h->answer.len, 500, 1200);
    h->storage->reject = 1;
    h->storage->reason = (pra_str){NULL, 0};
    hosted_write(h, S("v"), ways[0]);
    check_answer(h, 400);
    /* a failure of the whole goes first */
    h->storage->code = PRA_ERR_RETRY;
    hosted_write(h, S("v"), ways[0]);
    check_answer(h, 503);
    assert_header(h->x, "Retry-After", "");
}

/* Series with labels that cannot be are left out and told of; the rest is stored. */
static void W32_bad_labels(void **state)
{
    struct hosted *h = *state;
    static const struct {
        const char *rule;
        pra_label labels[3];
        size_t count;
        int status;
    } cases[] = {
        {"unsorted is sorted", {{S("z"), S("1")}, {S("__name__"), S("x")}}, 2, 204},
        {"empty value dropped", {{S("__name__"), S("x")}, {S("a"), S("")}}, 2, 204},
        {"NUL is a character", {{S("__name__"), S("x")}, {S("a"), S("b\0c")}}, 2, 204},
        {"repeated", {{S("a"), S("1")}, {S("__name__"), S("x")}, {S("a"), S("2")}}, 3, 400},
        {"empty name", {{S("__name__"), S("x")}, {S(""), S("v")}}, 2, 400},
        {"not UTF-8", {{S("__name__"), S("x")}, {S("a"), S("\xff")}}, 2, 400},
        {"not UTF-8", {{S("__name__"), S("x")}, {S("\xc0\x80"), S("a")}}, 2, 400},
        {"no labels", {{S(""), S("")}}, 0, 400},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t series = h->storage->series;
        hosted_write_labels(h, cases[i].labels, cases[i].count, ways[i % 4]);
        if (pra_exchange_status(h->x) != cases[i].status)
            fail_msg("W-32 %s: %d", cases[i].rule, pra_exchange_status(h->x));
        check_answer(h, cases[i].status);
        assert_int_equal(h->storage->series - series, 1 + (cases[i].status == 204));
    }
}

/* ── Reads ── */

static void R05_R06_answers_in_order_of_the_queries(void **state)
{
    struct hosted *h = *state;
    for (size_t way = 0; way < 4; way++) {
        hosted_read(h, "cab", ways[way]);
        check_answer(h, 200);
        assert_header(h->x, "Content-Type", "application/x-protobuf");
        assert_header(h->x, "Content-Encoding", "snappy");
        hosted_expect_series(h, "cab");
        hosted_read(h, "", ways[way]);
        check_answer(h, 200);
        hosted_expect_series(h, "");
    }
}

static void R09_too_many_samples(void **state)
{
    (void)state;
    const pra_limits limits = {.size = sizeof(limits), .max_read_samples = 2};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    struct hosted *h = hosted_new(NULL, &opts);
    for (size_t way = 0; way < 4; way++)
        for (int careless = 0; careless < 2; careless++) { /* does not look at what add returns */
            h->storage->careless = careless;
            hosted_read(h, "ab", ways[way]);
            check_answer(h, 200);
            hosted_read(h, "abc", ways[way]);
            check_answer(h, 400);
            assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_SAMPLE_LIMIT);
        }
    struct hosted_storage *storage = h->storage;
    hosted_free(h);
    hosted_storage_free(storage);
}

/* Each query on a thread of its own, the last one first. */
static void queries_on_several_threads(void **state)
{
    (void)state;
    struct hosted_threads threads = {0};
    pra_handler_opts opts = {.size = sizeof(opts), .executor = hosted_executor(&threads)};
    struct hosted *h = hosted_new(NULL, &opts);
    hosted_read(h, "hgfedcba", ways[0]);
    check_answer(h, 200);
    hosted_expect_series(h, "hgfedcba");
    assert_int_equal(threads.started, 8);
    /* of several failures the one of the first query is told */
    h->storage->fail_query = "hc";
    h->storage->code = PRA_ERR_REJECT;
    h->storage->message = "this one";
    hosted_read(h, "abcdefgh", ways[0]);
    check_answer(h, 400);
    assert_memory_equal(h->answer.ptr, "this one c\n", 11);
    h->storage->code = PRA_ERR_USER;
    hosted_read(h, "abh", ways[0]);
    check_answer(h, 500);
    assert_int_equal(h->ran, PRA_ERR_USER);
    h->storage->fail_query = NULL;
    h->storage->code = 0;
    threads.refuse = 1;
    hosted_read(h, "ab", ways[0]);
    check_answer(h, 503);
    threads.refuse = 0;
    hosted_read(h, "ab", ways[0]);
    check_answer(h, 200);
    struct hosted_storage *storage = h->storage;
    hosted_free(h);
    hosted_storage_free(storage);
}

/* ── Misuse from within ── */

static void callbacks_cannot_reenter(void **state)
{
    struct hosted *h = *state;
    h->storage->inside = h;
    hosted_write(h, S("v"), ways[0]);
    check_answer(h, 204);
    hosted_read(h, "v", ways[0]);
    check_answer(h, 200);
    assert_int_equal(h->storage->reentered, 2);
}

static void missing_entries_are_404(void **state)
{
    (void)state;
    pra_storage_vtbl nothing = {.size = sizeof(nothing)};
    const pra_storage storage = {&nothing, NULL};
    struct hosted h = {.storage = NULL};
    assert_int_equal(pra_handler_new(NULL, &storage, NULL, &h.handler, NULL), PRA_OK);
    assert_int_equal(pra_exchange_new(h.handler, NULL, &h.x), PRA_OK);
    hosted_write(&h, S("v"), ways[0]);
    check_answer(&h, 404);
    hosted_read(&h, "v", ways[0]);
    check_answer(&h, 404);
    pra_exchange_free(h.x);
    pra_handler_free(h.handler);
}

/* ── Memory ── */

/* A write and a read; whatever fails, the next request with memory again is served. */
static int whole_exchanges(struct failing_alloc *f, void *arg)
{
    const struct hosted_way *way = arg;
    struct hosted_threads threads = {.in_turn = 1};
    const pra_handler_opts opts = {.size = sizeof(opts), .executor = hosted_executor(&threads)};
    struct hosted_storage *storage = NULL;
    struct hosted *h = hosted_try_new(&f->alloc, way->pieces ? &opts : NULL, &storage);
    int rc = PRA_OK;
    for (int read = 0; read < 2 && h && rc == PRA_OK; read++) {
        if (read)
            hosted_read(h, "ab", *way);
        else
            hosted_write(h, S("v"), *way);
        int status = pra_exchange_status(h->x);
        assert_true(status == 503 || status == (read ? 200 : 204));
        rc = pra_exchange_error(h->x)->code;
        assert_int_equal(rc, status == 503 ? PRA_ERR_NOMEM : PRA_OK);
    }
    if (h && rc) {
        enum failing_mode mode = f->mode;
        f->mode = FAIL_NEVER;
        hosted_write(h, S("v"), *way);
        check_answer(h, 204);
        hosted_read(h, "ba", *way);
        check_answer(h, 200);
        hosted_expect_series(h, "ba");
        f->mode = mode;
    }
    rc = h ? rc : PRA_ERR_NOMEM;
    hosted_free(h);
    assert_int_equal(storage->destroyed, 1);
    hosted_storage_free(storage);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t way = 0; way < 4; way++) {
        struct hosted_way arg = ways[way];
        const char *wrong = failing_alloc_loop(whole_exchanges, &arg);
        if (wrong)
            fail_msg("%s", wrong);
    }
}

static void warm_writes_allocate_nothing(void **state)
{
    (void)state;
    struct failing_alloc f;
    struct hosted_storage *storage = NULL;
    failing_alloc_init(&f);
    struct hosted *h = hosted_try_new(&f.alloc, NULL, &storage);
    hosted_write(h, S("v"), ways[0]);
    size_t calls = f.calls;
    hosted_write(h, S("w"), ways[0]);
    check_answer(h, 204);
    assert_int_equal(f.calls, calls);
    hosted_free(h);
    hosted_storage_free(storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(table_of_outcomes),
        TEST(W22_partly_stored),
        TEST(W32_bad_labels),
        TEST(R05_R06_answers_in_order_of_the_queries),
        cmocka_unit_test(R09_too_many_samples),
        cmocka_unit_test(queries_on_several_threads),
        TEST(callbacks_cannot_reenter),
        cmocka_unit_test(missing_entries_are_404),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(warm_writes_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
