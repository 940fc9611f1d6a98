/* SPDX-License-Identifier: Apache-2.0 */
/* Storages that push series in order and rest while the reader does, and the state that a
 * storage keeps with a query: released once, however it ends. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "handler_fixture.h"
#include "support/failing_alloc.h"

enum { SAMPLED = PRA_RESPONSE_SAMPLES, STREAMED = PRA_RESPONSE_STREAMED_XOR_CHUNKS };
enum { PIECE = 64 << 10, POINTS = 60 };
#define NOWHERE SIZE_MAX

/* ── A storage that counts ── */

struct counter {
    size_t series;
    /* misdeeds, at series number; NOWHERE: none */
    size_t swap_at;  /* comes behind the next */
    size_t twice_at; /* comes again */
    size_t fail_at;  /* the storage fails instead */
    size_t tired_at; /* the storage returns tired_code instead */
    int tired_code;
    int careless; /* goes on whatever the sink says */

    pra_exchange *inside; /* tried to be used in release */

    /* what was seen */
    atomic_size_t calls;
    atomic_size_t done; /* times that the sink had enough */
    atomic_size_t begun, released;
    atomic_size_t at; /* the series that was taken last */
};

/* The state of a query. */
struct cursor {
    const pra_context *ctx;
    size_t at;
};

static const struct counter nothing_wrong = {
    .swap_at = NOWHERE, .twice_at = NOWHERE, .fail_at = NOWHERE, .tired_at = NOWHERE};

static struct counter counting(size_t series)
{
    struct counter c = nothing_wrong;
    c.series = series;
    return c;
}

static struct cursor *cursor_of(struct counter *c, const pra_context *ctx, const pra_query *query)
{
    void **place = pra_query_state(query);
    if (!*place) {
        struct cursor *cursor = calloc(1, sizeof(*cursor));
        assert_non_null(cursor);
        cursor->ctx = ctx;
        *place = cursor;
        atomic_fetch_add(&c->begun, 1);
    }
    struct cursor *cursor = *place;
    assert_ptr_equal(cursor->ctx, ctx);
    return cursor;
}

static void release(void *self, void *state)
{
    struct counter *c = self;
    assert_non_null(state);
    atomic_fetch_add(&c->released, 1);
    if (c->inside) {
        const void *piece;
        size_t len;
        const pra_request_head head = {.size = sizeof(head)};
        assert_int_equal(pra_exchange_begin(c->inside, &head), PRA_ERR_BUSY);
        assert_int_equal(pra_exchange_body(c->inside, &piece, &len), PRA_ERR_BUSY);
    }
    free(state);
}

static int push_series(pra_series_sink *sink, size_t number, pra_error *err)
{
    char digits[16];
    int64_t timestamps_ms[POINTS];
    double values[POINTS];
    int n = snprintf(digits, sizeof(digits), "%06zu", number);
    const pra_label labels[] = {{S("n"), {digits, (size_t)n}}, {S("__name__"), S("m")}};
    for (size_t i = 0; i < POINTS; i++) {
        timestamps_ms[i] = (int64_t)i;
        values[i] = (double)(number * 7919 * (i + 1) % 100003) / 3;
    }
    if (number % 2) /* both ways to add one */
        return pra_series_sink_add(sink, labels, 2, timestamps_ms, values, POINTS, err);
    int rc = pra_series_sink_begin(sink, labels, 2, err);
    if (rc == PRA_OK)
        rc = pra_series_sink_samples(sink, timestamps_ms, values, POINTS, err);
    return rc ? rc : pra_series_sink_end(sink, err);
}

static size_t number_of(const struct counter *c, size_t at)
{
    if (c->swap_at != NOWHERE && (at == c->swap_at || at == c->swap_at + 1))
        return 2 * c->swap_at + 1 - at;
    return c->twice_at != NOWHERE && at > c->twice_at ? at - 1 : at;
}

static int count_on(void *self, const pra_context *ctx, const pra_query *query,
                    pra_series_sink *sink, pra_error *err)
{
    struct counter *c = self;
    struct cursor *cursor = cursor_of(c, ctx, query);
    c->calls++;
    while (cursor->at < c->series) {
        if (cursor->at == c->fail_at)
            return pra_error_set_cstr(err, PRA_ERR_RETRY, "the disk went away");
        if (cursor->at == c->tired_at)
            return c->tired_code;
        int rc = push_series(sink, number_of(c, cursor->at), err);
        if (rc < 0 && !c->careless)
            return rc;
        cursor->at++;
        atomic_store(&c->at, cursor->at);
        c->done += rc == PRA_DONE;
        if (rc && !c->careless)
            return rc;
    }
    return PRA_OK;
}

static const pra_storage_vtbl ordered = {.size = sizeof(ordered),
                                         .flags =
                                             PRA_STORAGE_ORDERED | PRA_STORAGE_PARALLEL_QUERIES,
                                         .process_query = count_on,
                                         .release = release};

/* ── Asking ── */

static struct hosted *serve(struct counter *c, const pra_storage_vtbl *vtbl, const pra_alloc *alloc,
                            const pra_handler_opts *opts)
{
    const pra_storage storage = {vtbl, c};
    struct hosted *h = hosted_over(alloc, &storage, opts);
    if (!alloc)
        assert_non_null(h);
    return h;
}

/* Up to where the storage is to be asked; a query's range is empty where ends says 0. Returns as
 * pra_exchange_end. */
static int prepare(struct hosted *h, const char *ends, int32_t type)
{
    pra_read_request *request;
    pra_buffer *message, *body;
    assert_int_equal(pra_read_request_new(NULL, &request), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &message), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &body), PRA_OK);
    for (const char *end = ends; *end; end++)
        assert_int_equal(pra_read_request_add_query(request, 0, *end == '0' ? -1 : 1000), PRA_OK);
    assert_int_equal(pra_read_request_add_accepted(request, type), PRA_OK);
    assert_int_equal(pra_read_request_encode(request, message, NULL), PRA_OK);
    assert_int_equal(
        pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), body, NULL), PRA_OK);
    int rc = hosted_begin(h, "POST", "/api/v1/read", "Content-Encoding: snappy\n");
    if (rc == PRA_OK)
        rc = pra_exchange_feed(h->x, pra_buffer_data(body), pra_buffer_len(body));
    if (rc == PRA_OK)
        rc = pra_exchange_end(h->x);
    pra_buffer_free(body);
    pra_buffer_free(message);
    pra_read_request_free(request);
    return rc;
}

static void ask(struct hosted *h, const char *ends, int32_t type)
{
    if (prepare(h, ends, type) == PRA_OK)
        h->ran = pra_exchange_run(h->x);
}

/* Checks that the frames hold these series of these queries, whole and in order. */
static void assert_counts(pra_str body, size_t series, const char *ends)
{
    pra_stream_reader *reader;
    pra_error err = {0};
    size_t next = 0;
    int64_t query = 0;
    assert_int_equal(pra_stream_reader_new(NULL, NULL, &reader), PRA_OK);
    assert_int_equal(pra_stream_reader_feed(reader, body.ptr, body.len), PRA_OK);
    while (pra_stream_reader_next(reader, &err) == PRA_OK) {
        char want[16];
        pra_columns c = {.size = sizeof(c)};
        while (next == series || ends[query] == '0') {
            query++;
            next = 0;
        }
        assert_int_equal(pra_stream_reader_columns(reader, &c), PRA_OK);
        assert_int_equal(pra_stream_reader_query_index(reader), query);
        assert_int_equal(c.sample_count, POINTS);
        assert_int_equal(c.label_count, 2);
        (void)snprintf(want, sizeof(want), "%06zu", next++);
        assert_memory_equal(c.base + c.labels[1].value.off, want, 6);
    }
    assert_int_equal(pra_stream_reader_finish(reader, &err), PRA_OK);
    assert_int_equal(next, series);
    assert_int_equal(ends[query + 1], 0);
    pra_stream_reader_free(reader);
}

static void assert_all_released(struct counter *c, size_t begun)
{
    assert_int_equal(c->begun, begun);
    assert_int_equal(c->released, begun);
}

/* ── Streamed ── */

static void R24_a_piece_at_a_time_as_the_reader_takes_them(void **state)
{
    struct failing_alloc f;
    failing_alloc_init(&f);
    struct counter c = counting(3000);
    struct hosted *h = serve(&c, &ordered, &f.alloc, NULL);
    const void *piece;
    size_t len, pieces = 0;
    int rc;
    (void)state;
    for (int round = 0; round < 2; round++) {
        pra_buffer *all;
        assert_int_equal(pra_buffer_new(NULL, &all), PRA_OK);
        ask(h, "1", STREAMED);
        assert_int_equal(pra_exchange_status(h->x), 200);
        assert_true(c.at < 400); /* no further than the first piece */
        for (size_t before = c.at; (rc = pra_exchange_body(h->x, &piece, &len)) == PRA_OK;
             pieces++) {
            assert_true(c.at - before < 400);
            assert_true(len < PIECE + 2048);
            assert_int_equal(c.begun - c.released, c.at < c.series || len >= PIECE);
            assert_int_equal(pra_buffer_append(all, piece, len), PRA_OK);
            before = c.at;
        }
        assert_int_equal(rc, PRA_DONE);
        assert_counts((pra_str){pra_buffer_data(all), pra_buffer_len(all)}, c.series, "1");
        assert_all_released(&c, (size_t)round + 1);
        pra_buffer_free(all);
    }
    assert_int_equal(c.done, c.calls - 2);
    assert_int_equal(pieces, c.calls);
    assert_true(f.peak < 8 * PIECE);
    hosted_free(h);
    assert_int_equal(f.live, 0);
}

static void queries_follow_each_other(void **state)
{
    struct counter c = counting(700);
    struct hosted *h = serve(&c, &ordered, NULL, NULL);
    pra_exchange_stats stats = {.size = sizeof(stats)};
    (void)state;
    ask(h, "1011", STREAMED);
    check_answer(h, 200);
    assert_counts(h->answer, c.series, "1011");
    assert_all_released(&c, 3);
    assert_int_equal(pra_exchange_get_stats(h->x, &stats), PRA_OK);
    assert_int_equal(stats.series, 3 * c.series);
    assert_int_equal(stats.samples, 3 * c.series * POINTS);
    c.series = 0;
    ask(h, "11", STREAMED);
    check_answer(h, 200);
    assert_int_equal(h->answer.len, 0);
    assert_all_released(&c, 5);
    hosted_free(h);
}

/* It is not bound to stop: what it pushes is the answer, up to the limit. */
static void a_storage_that_does_not_rest_is_bounded(void **state)
{
    const pra_limits limits = {.size = sizeof(limits), .max_response_bytes = 500000};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    struct counter c = counting(700);
    struct hosted *h = serve(&c, &ordered, NULL, &opts);
    (void)state;
    c.careless = 1;
    ask(h, "1", STREAMED);
    check_answer(h, 200);
    assert_int_equal(c.calls, 1);
    assert_counts(h->answer, c.series, "1");
    c.series = 3000;
    ask(h, "1", STREAMED);
    check_answer(h, 400);
    assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_RESPONSE_TOO_LARGE);
    assert_all_released(&c, 2);
    hosted_free(h);
}

/* ── Where all is collected ── */

static void nothing_says_enough_where_all_is_collected(void **state)
{
    static const pra_label external[] = {{{"a", 1}, {"b", 1}}};
    const pra_handler_opts opts = {
        .size = sizeof(opts), .external_labels = external, .external_label_count = 1};
    struct counter c = counting(2000);
    (void)state;
    struct hosted *h = serve(&c, &ordered, NULL, NULL);
    ask(h, "101", SAMPLED);
    check_answer(h, 200);
    assert_int_equal(c.calls, 2);
    assert_int_equal(c.done, 0);
    assert_all_released(&c, 2);
    hosted_free(h);

    h = serve(&c, &ordered, NULL, &opts);
    for (int32_t type = SAMPLED; type <= STREAMED; type++) {
        c.calls = 0;
        ask(h, "1", type);
        assert_int_equal(c.begun, c.released); /* before the body is taken */
        check_answer(h, 200);
        assert_int_equal(c.calls, 1);
        assert_int_equal(c.done, 0);
    }
    hosted_free(h);
}

static void queries_in_parallel_have_a_state_each(void **state)
{
    struct hosted_threads threads = {0};
    const pra_handler_opts opts = {.size = sizeof(opts), .executor = hosted_executor(&threads)};
    struct counter c = counting(0);
    (void)state;
    struct hosted *h = serve(&c, &ordered, NULL, &opts);
    ask(h, "1111", SAMPLED);
    check_answer(h, 200);
    assert_int_equal(threads.started, 4);
    assert_all_released(&c, 4);
    threads.refuse = 1; /* nothing was begun */
    ask(h, "1111", SAMPLED);
    check_answer(h, 503);
    assert_all_released(&c, 4);
    hosted_free(h);
}

/* ── What is wrong with the order ── */

static void assert_refused_order(struct hosted *h, const char *want)
{
    assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_CALLBACK);
    assert_string_equal(pra_exchange_error(h->x)->message, want);
}

static void series_that_are_not_in_order_are_refused(void **state)
{
    static const char swapped[] =
        "an ordered storage gave series {__name__=\"m\",n=\"000005\"} behind "
        "{__name__=\"m\",n=\"000006\"}, not in the order of labels";
    static const char twice[] =
        "an ordered storage gave series {__name__=\"m\",n=\"000005\"} twice";
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct counter c = counting(100);
        struct hosted *h = serve(&c, &ordered, NULL, NULL);
        *(way & 1 ? &c.swap_at : &c.twice_at) = 5;
        c.careless = way >> 1;
        for (int32_t type = SAMPLED; type <= STREAMED; type++) {
            ask(h, "1", type);
            check_answer(h, 500);
            assert_refused_order(h, way & 1 ? swapped : twice);
        }
        assert_all_released(&c, 2);
        hosted_free(h);
    }
}

static int two_long_series(void *self, const pra_context *ctx, const pra_query *query,
                           pra_series_sink *sink, pra_error *err)
{
    static char value[] = "ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää";
    const int64_t t = 1;
    const double v = 1;
    const pra_label first[] = {{S("b"), {value, sizeof(value) - 1}}};
    const pra_label second[] = {{S("a"), {value, sizeof(value) - 1}}};
    (void)self, (void)ctx, (void)query;
    int rc = pra_series_sink_add(sink, first, 1, &t, &v, 1, err);
    return rc ? rc : pra_series_sink_add(sink, second, 1, &t, &v, 1, err);
}

static void long_labels_are_shown_in_part(void **state)
{
    static const pra_storage_vtbl vtbl = {
        .size = sizeof(vtbl), .flags = PRA_STORAGE_ORDERED, .process_query = two_long_series};
    struct counter c = counting(0);
    struct hosted *h = serve(&c, &vtbl, NULL, NULL);
    (void)state;
    ask(h, "1", STREAMED);
    check_answer(h, 500);
    assert_refused_order(h, "an ordered storage gave series "
                            "{a=\"ääääääääääääääääääääääääääääääää… behind "
                            "{b=\"ääääääääääääääääääääääääääääääää…, "
                            "not in the order of labels");
    hosted_free(h);
}

static void a_failure_after_the_first_piece_breaks_off(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct counter c = counting(3000);
        struct hosted *h = serve(&c, &ordered, NULL, NULL);
        const void *piece;
        size_t len, pieces = 0;
        int rc;
        *(way == 0 ? &c.swap_at : way == 1 ? &c.twice_at : &c.fail_at) = 2000;
        ask(h, "11", STREAMED);
        assert_int_equal(pra_exchange_status(h->x), 200);
        while ((rc = pra_exchange_body(h->x, &piece, &len)) == PRA_OK)
            pieces++;
        assert_true(pieces > 2);
        assert_int_equal(rc, way < 2 ? PRA_ERR_CALLBACK : PRA_ERR_RETRY);
        assert_int_equal(pra_exchange_error(h->x)->code, rc);
        assert_all_released(&c, 1);
        assert_int_equal(pra_exchange_body(h->x, &piece, &len), rc);
        assert_all_released(&c, 1);
        hosted_free(h);
        assert_all_released(&c, 1);
    }
}

static void a_storage_that_rests_too_early_has_failed(void **state)
{
    (void)state;
    for (int32_t type = SAMPLED; type <= STREAMED; type++)
        for (int code = PRA_DONE; code <= PRA_DONE + 1; code++) {
            struct counter c = counting(10);
            struct hosted *h = serve(&c, &ordered, NULL, NULL);
            c.tired_at = 5;
            c.tired_code = code;
            ask(h, "1", type);
            check_answer(h, 500);
            assert_non_null(strstr(pra_exchange_error(h->x)->message, "had not enough"));
            assert_all_released(&c, 1);
            hosted_free(h);
        }
}

/* ── Giving up ── */

static void a_state_is_released_when_the_exchange_goes_on_or_away(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct counter c = counting(3000);
        struct hosted *h = serve(&c, &ordered, NULL, NULL);
        const void *piece;
        size_t len;
        ask(h, "11", STREAMED);
        assert_int_equal(pra_exchange_body(h->x, &piece, &len), PRA_OK);
        assert_int_equal(pra_exchange_body(h->x, &piece, &len), PRA_OK);
        assert_int_equal(c.begun - c.released, 1);
        c.inside = way < 2 ? h->x : NULL;
        if (way == 0)
            (void)hosted_begin(h, "GET", "/", "");
        else if (way == 1)
            assert_int_equal(prepare(h, "1", SAMPLED), PRA_OK);
        if (way < 2)
            assert_all_released(&c, 1);
        c.inside = NULL;
        hosted_free(h);
        assert_all_released(&c, 1);
    }
}

/* The host asks by itself, and finishes with or without success, or not at all. */
static void stepped_states_are_released_too(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct counter c = counting(1);
        struct hosted *h = serve(&c, &ordered, NULL, NULL);
        assert_int_equal(prepare(h, "1", SAMPLED), PRA_OK);
        const pra_query *query = pra_read_request_query(pra_exchange_read_request(h->x), 0);
        assert_null(*pra_query_state(query));
        (void)cursor_of(&c, pra_exchange_context(h->x), query);
        if (way < 2)
            assert_int_equal(pra_exchange_finish(h->x, way ? PRA_ERR_RETRY : PRA_OK, NULL), PRA_OK);
        if (way < 2)
            assert_all_released(&c, 1);
        hosted_free(h);
        assert_all_released(&c, 1);
    }
}

/* ── Other entries ── */

static int select_some(void *self, const pra_context *ctx, const pra_query *query,
                       pra_series_list *list, pra_error *err)
{
    struct counter *c = self;
    int rc = PRA_OK;
    (void)cursor_of(c, ctx, query);
    for (size_t id = 0; id < c->series && rc == PRA_OK; id++) {
        const pra_label label = {S("n"), {&"abcdefgh"[id], 1}};
        rc = pra_series_list_add(list, &label, 1, id, err);
    }
    return c->series == c->fail_at ? PRA_ERR_IO : rc;
}

static int fetch_some(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                      int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    struct counter *c = self;
    const struct cursor *cursor = *pra_query_state(query);
    const int64_t t = 5;
    const double value = 1;
    assert_non_null(cursor);
    assert_ptr_equal(cursor->ctx, ctx);
    (void)from_ms;
    return id == c->fail_at ? PRA_ERR_IO : pra_series_sink_samples(sink, &t, &value, 1, err);
}

static int read_all(void *self, const pra_context *ctx, const pra_read_request *request,
                    pra_series_sink *const *sinks, pra_error *err)
{
    struct counter *c = self;
    for (size_t i = 0; i < pra_read_request_query_count(request); i++) {
        (void)cursor_of(c, ctx, pra_read_request_query(request, i));
        assert_int_equal(push_series(sinks[i], i, err), PRA_OK);
    }
    return c->fail_at == 0 ? PRA_ERR_IO : PRA_OK;
}

static void select_fetch_and_read_have_states(void **state)
{
    static const pra_storage_vtbl selects = {
        .size = sizeof(selects), .select = select_some, .fetch = fetch_some, .release = release};
    static const pra_storage_vtbl reads = {.size = sizeof(reads),
                                           .flags = PRA_STORAGE_ORDERED,
                                           .process_query = count_on,
                                           .read = read_all,
                                           .release = release};
    (void)state;
    for (int32_t type = SAMPLED; type <= STREAMED; type++)
        for (int way = 0; way < 6; way++) {
            static const size_t fail_at[] = {NOWHERE, 5, 0, 3, NOWHERE, 0};
            struct counter c = counting(5);
            struct hosted *h = serve(&c, way < 4 ? &selects : &reads, NULL, NULL);
            c.fail_at = fail_at[way];
            ask(h, "11", type);
            check_answer(h, c.fail_at == NOWHERE ? 200 : 503);
            assert_int_equal(c.begun, c.released);
            assert_true(c.begun > 0);
            assert_int_equal(c.calls, 0);
            hosted_free(h);
            assert_int_equal(c.begun, c.released);
        }
}

static void without_release_a_state_is_the_storages_business(void **state)
{
    pra_storage_vtbl vtbl = ordered;
    struct counter c = counting(0);
    pra_read_request *request;
    int place = 0;
    (void)state;
    vtbl.release = NULL;
    struct hosted *h = serve(&c, &vtbl, NULL, NULL);
    assert_int_equal(prepare(h, "1", SAMPLED), PRA_OK);
    *pra_query_state(pra_read_request_query(pra_exchange_read_request(h->x), 0)) = &place;
    assert_int_equal(pra_exchange_finish(h->x, PRA_OK, NULL), PRA_OK);
    hosted_free(h);
    /* nor has a request of its own anybody else */
    assert_int_equal(pra_read_request_new(NULL, &request), PRA_OK);
    assert_int_equal(pra_read_request_add_query(request, 0, 1), PRA_OK);
    *pra_query_state(pra_read_request_query(request, 0)) = &place;
    assert_ptr_equal(*pra_query_state(pra_read_request_query(request, 0)), &place);
    pra_read_request_free(request);
}

/* ── Without memory ── */

static int answer_without_memory(struct failing_alloc *f, void *arg)
{
    struct counter c = counting(800);
    const void *piece;
    size_t len;
    (void)arg;
    struct hosted *h = serve(&c, &ordered, &f->alloc, NULL);
    if (!h)
        return PRA_ERR_NOMEM;
    ask(h, "11", STREAMED);
    int rc = pra_exchange_status(h->x) == 200 ? PRA_OK : PRA_ERR_NOMEM;
    while (rc == PRA_OK)
        rc = pra_exchange_body(h->x, &piece, &len);
    hosted_free(h);
    assert_int_equal(c.begun, c.released);
    return rc == PRA_DONE ? PRA_OK : rc;
}

static void running_out_of_memory_releases_all(void **state)
{
    (void)state;
    const char *wrong = failing_alloc_loop(answer_without_memory, NULL);
    if (wrong)
        fail_msg("%s", wrong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(R24_a_piece_at_a_time_as_the_reader_takes_them),
        cmocka_unit_test(queries_follow_each_other),
        cmocka_unit_test(a_storage_that_does_not_rest_is_bounded),
        cmocka_unit_test(nothing_says_enough_where_all_is_collected),
        cmocka_unit_test(queries_in_parallel_have_a_state_each),
        cmocka_unit_test(series_that_are_not_in_order_are_refused),
        cmocka_unit_test(long_labels_are_shown_in_part),
        cmocka_unit_test(a_failure_after_the_first_piece_breaks_off),
        cmocka_unit_test(a_storage_that_rests_too_early_has_failed),
        cmocka_unit_test(a_state_is_released_when_the_exchange_goes_on_or_away),
        cmocka_unit_test(stepped_states_are_released_too),
        cmocka_unit_test(select_fetch_and_read_have_states),
        cmocka_unit_test(without_release_a_state_is_the_storages_business),
        cmocka_unit_test(running_out_of_memory_releases_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
