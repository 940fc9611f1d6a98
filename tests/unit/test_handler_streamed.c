/* SPDX-License-Identifier: Apache-2.0 */
/* Reads over a storage with select and fetch, and over one that pushes: sampled and streamed
 * answers, what they cost, and how they fail. */
#include <stdio.h>
#include <stdlib.h>

#include "handler_fixture.h"
#include "support/failing_alloc.h"
#include "support/generated.h"
#include "support/text.h"

/* ── Asking ── */

struct asked {
    int64_t start_ms;
    int64_t end_ms;
    const char *pattern; /* of __name__ */
    const char *name;    /* of one more matcher, for equality; NULL: none */
    const char *value;
};

static const int32_t SAMPLED = PRA_RESPONSE_SAMPLES;
static const int32_t STREAMED = PRA_RESPONSE_STREAMED_XOR_CHUNKS;

static pra_str str(const char *s)
{
    return (pra_str){s, strlen(s)};
}

static pra_buffer *body_of(const struct asked *asked, size_t count, int32_t type)
{
    pra_read_request *request;
    pra_buffer *message, *body;
    assert_int_equal(pra_read_request_new(NULL, &request), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &message), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &body), PRA_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pra_read_request_add_query(request, asked[i].start_ms, asked[i].end_ms),
                         PRA_OK);
        assert_int_equal(pra_read_request_add_matcher(request, PRA_MATCH_REGEX, S("__name__"),
                                                      str(asked[i].pattern)),
                         PRA_OK);
        if (asked[i].name)
            assert_int_equal(pra_read_request_add_matcher(request, PRA_MATCH_EQUAL,
                                                          str(asked[i].name), str(asked[i].value)),
                             PRA_OK);
    }
    assert_int_equal(pra_read_request_add_accepted(request, type), PRA_OK);
    assert_int_equal(pra_read_request_encode(request, message, NULL), PRA_OK);
    assert_int_equal(
        pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), body, NULL), PRA_OK);
    pra_buffer_free(message);
    pra_read_request_free(request);
    return body;
}

/* The host does what the default read does. */
static void step(struct hosted *h, struct generated *g)
{
    const pra_read_request *request = pra_exchange_read_request(h->x);
    pra_error err = {0};
    int rc = PRA_OK;
    for (size_t i = 0; i < pra_read_request_query_count(request) && rc == PRA_OK; i++)
        rc = generated_pushed.process_query(g, pra_exchange_context(h->x),
                                            pra_read_request_query(request, i),
                                            pra_exchange_sink(h->x, i), &err);
    assert_int_equal(pra_exchange_finish(h->x, rc, &err), PRA_OK);
}

/* Until the answer stands. */
static void ask_for(struct hosted *h, struct generated *stepped, const struct asked *asked,
                    size_t count, int32_t type)
{
    pra_buffer *body = body_of(asked, count, type);
    int rc = hosted_begin(h, "POST", "/api/v1/read", "Content-Encoding: snappy\n");
    if (rc == PRA_OK)
        rc = pra_exchange_feed(h->x, pra_buffer_data(body), pra_buffer_len(body));
    if (rc == PRA_OK)
        rc = pra_exchange_end(h->x);
    pra_buffer_free(body);
    if (rc == PRA_OK && stepped)
        step(h, stepped);
    else if (rc == PRA_OK)
        h->ran = pra_exchange_run(h->x);
}

static struct hosted *serve(struct generated *g, const pra_storage_vtbl *vtbl,
                            const pra_alloc *alloc, const pra_handler_opts *opts)
{
    const pra_storage storage = {vtbl, g};
    struct hosted *h = hosted_over(alloc, &storage, opts);
    if (!alloc)
        assert_non_null(h);
    return h;
}

/* ── Answers as text: a line for each series, one for each datum, in order of time ── */

static void render_head(struct text *t, int64_t query, const pra_columns *c, size_t series)
{
    text_printf(t, "%d", (int)query);
    for (size_t i = c->label_offsets[series]; i < c->label_offsets[series + 1]; i++) {
        const pra_label_span *l = &c->labels[i];
        text_printf(t, " %.*s=%.*s", (int)l->name.len, c->base + l->name.off, (int)l->value.len,
                    c->base + l->value.off);
    }
    text_printf(t, "\n");
}

static void render_histogram(struct text *t, const pra_columns *c, const pra_histogram *h)
{
    text_printf(t, " %lld schema %d count %llu sum %g", (long long)h->timestamp_ms, h->schema,
                (unsigned long long)h->count_bits, h->sum);
    for (size_t i = 0; i < h->positive_spans.count; i++) {
        const pra_bucket_span *span = &c->bucket_spans[h->positive_spans.start + i];
        text_printf(t, " +%d*%u", span->offset, span->length);
    }
    for (size_t i = 0; i < h->positive_deltas.count; i++)
        text_printf(t, " %lld", (long long)c->positive_deltas[h->positive_deltas.start + i]);
    text_printf(t, "\n");
}

static void render_data(struct text *t, const pra_columns *c, size_t series)
{
    size_t s = c->sample_offsets[series];
    size_t h = c->histogram_offsets[series];
    const size_t samples = c->sample_offsets[series + 1];
    const size_t histograms = c->histogram_offsets[series + 1];
    while (s < samples || h < histograms) {
        if (h == histograms ||
            (s < samples && c->timestamps_ms[s] < c->histograms[h].timestamp_ms)) {
            text_printf(t, " %lld %g\n", (long long)c->timestamps_ms[s], c->values[s]);
            s++;
        } else {
            render_histogram(t, c, &c->histograms[h++]);
        }
    }
}

static struct text text_of_sampled(pra_str body)
{
    struct text t = {0};
    pra_columns c = {.size = sizeof(c)};
    pra_read_response *response;
    const uint32_t *offsets;
    assert_int_equal(pra_read_response_new(NULL, &response), PRA_OK);
    assert_int_equal(pra_read_response_decode_snappy(response, body.ptr, body.len, NULL, NULL),
                     PRA_OK);
    assert_int_equal(pra_read_response_columns(response, &c), PRA_OK);
    size_t results = pra_read_response_results(response, &offsets);
    for (size_t q = 0; q < results; q++)
        for (size_t i = offsets[q]; i < offsets[q + 1]; i++) {
            render_head(&t, (int64_t)q, &c, i);
            render_data(&t, &c, i);
        }
    pra_read_response_free(response);
    return t;
}

struct streamed {
    struct text text;
    size_t frames;
    size_t samples;
    size_t histograms;
};

/* Frames of one series follow each other; each has just one. */
static struct streamed read_streamed(pra_str body)
{
    struct streamed s = {.frames = 0};
    struct text last = {0};
    pra_stream_reader *reader;
    pra_error err = {0};
    int rc;
    assert_int_equal(pra_stream_reader_new(NULL, NULL, &reader), PRA_OK);
    assert_int_equal(pra_stream_reader_feed(reader, body.ptr, body.len), PRA_OK);
    while ((rc = pra_stream_reader_next(reader, &err)) == PRA_OK) {
        struct text head = {0};
        pra_columns c = {.size = sizeof(c)};
        assert_int_equal(pra_stream_reader_columns(reader, &c), PRA_OK);
        assert_int_equal(c.series_count, 1);
        assert_true(c.sample_count + c.histogram_count > 0);
        render_head(&head, pra_stream_reader_query_index(reader), &c, 0);
        if (head.len != last.len || memcmp(head.data, last.data, last.len) != 0)
            text_append(&s.text, &head);
        render_data(&s.text, &c, 0);
        text_free(&last);
        last = head;
        s.frames++;
        s.samples += c.sample_count;
        s.histograms += c.histogram_count;
    }
    if (rc != PRA_DONE)
        fail_msg("frame %zu: %s", s.frames, err.message);
    assert_int_equal(pra_stream_reader_finish(reader, &err), PRA_OK);
    pra_stream_reader_free(reader);
    text_free(&last);
    return s;
}

static void assert_text(const struct text *t, const char *expected)
{
    const char *is = t->len ? t->data : "";
    size_t same = 0;
    while (is[same] && is[same] == expected[same])
        same++;
    if (is[same] || expected[same])
        fail_msg("at byte %zu it goes on with:\n%.500s\nnot:\n%.500s", same, is + same,
                 expected + same);
}

/* The text of a whole exchange. */
static struct text answer_of(struct hosted *h, struct generated *stepped, const struct asked *asked,
                             size_t count, int32_t type)
{
    ask_for(h, stepped, asked, count, type);
    check_answer(h, 200);
    if (type == SAMPLED)
        return text_of_sampled(h->answer);
    assert_header(h->x, "Content-Type",
                  "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    assert_header(h->x, "Content-Encoding", "");
    return read_streamed(h->answer).text;
}

static pra_exchange_stats stats_of(const struct hosted *h)
{
    pra_exchange_stats stats = {.size = sizeof(stats)};
    assert_int_equal(pra_exchange_get_stats(h->x, &stats), PRA_OK);
    return stats;
}

/* ── Both kinds of answer agree ── */

#define LABEL(name, value)                                                                         \
    {                                                                                              \
        {name, sizeof(name) - 1}, {value, sizeof(value) - 1},                                      \
    }

static const struct generated_series several[] = {
    {{LABEL("__name__", "c"), LABEL("zone", "1")}, 2, 1000, 10, 700, 0},
    {{LABEL("__name__", "a"), LABEL("job", "x")}, 2, 0, 15, 300, 4},
    {{LABEL("job", "x"), LABEL("__name__", "b")}, 2, -500, 1, 2500, 1},
    {{LABEL("__name__", "a")}, 1, 100000, 5, 10, 0},
    {{LABEL("__name__", "a"), LABEL("job", "x"), LABEL("zone", "2")}, 3, 3, 1, 1, 0},
    {{LABEL("__name__", "c"), LABEL("empty", "")}, 2, 1000, 1000, 3, 2},
};

static const struct asked questions[] = {
    {INT64_MIN, INT64_MAX, ".*", NULL, NULL}, {1500, 3000, "[abc]", NULL, NULL},
    {0, 10000, "nothing", NULL, NULL},        {5, 4, ".*", NULL, NULL},
    {100000, 100020, "a|c", NULL, NULL},      {1505, 1505, "c", "zone", "1"},
};

enum { QUESTIONS = sizeof(questions) / sizeof(questions[0]) };

static void sampled_and_streamed_answers_agree(void **state)
{
    (void)state;
    struct generated g = {.series = several, .series_count = 6};
    struct hosted *fetched = serve(&g, &generated_fetched, NULL, NULL);
    struct hosted *pushed = serve(&g, &generated_pushed, NULL, NULL);
    struct text want = answer_of(fetched, NULL, questions, QUESTIONS, SAMPLED);
    pra_exchange_stats sampled = stats_of(fetched);
    assert_int_equal(sampled.series, 6 + 4 + 1);
    assert_int_equal(sampled.histograms, 75 + 2500 + 1 + 25 + 500 + 1);
    assert_int_equal(g.queries, 0);
    for (size_t batch = 1; batch <= 1000; batch = batch * 7 + 1)
        for (int way = 0; way < 3; way++) {
            struct hosted *h = way == 0 ? fetched : pushed;
            g.batch = batch;
            struct text is = answer_of(h, way == 2 ? &g : NULL, questions, QUESTIONS, STREAMED);
            assert_text(&is, want.data);
            pra_exchange_stats stats = stats_of(h);
            assert_int_equal(stats.series, sampled.series);
            assert_int_equal(stats.samples, sampled.samples);
            assert_int_equal(stats.histograms, sampled.histograms);
            assert_int_equal(stats.version, STREAMED);
            assert_int_equal(stats.response_bytes, h->answer.len);
            text_free(&is);
        }
    struct text unsorted = answer_of(pushed, &g, questions, QUESTIONS, SAMPLED);
    assert_int_equal(unsorted.len, want.len);
    text_free(&unsorted);
    text_free(&want);
    hosted_free(fetched);
    hosted_free(pushed);
}

static void R05_R24_range_and_order(void **state)
{
    (void)state;
    static const struct generated_series series[] = {
        {{LABEL("__name__", "m"), LABEL("b", "1")}, 2, 0, 10, 5, 0},
        {{LABEL("__name__", "m")}, 1, 0, 10, 5, 2},
        {{LABEL("__name__", "m"), LABEL("a", "2"), LABEL("b", "1")}, 3, 0, 10, 5, 0},
        {{LABEL("__name__", "m"), LABEL("a", "2")}, 2, 0, 10, 5, 0},
    };
    static const struct asked asked = {10, 20, "m", NULL, NULL};
    static const char want[] = "0 __name__=m\n"
                               " 10 schema 3 count 4 sum 1001 +0*2 +3*1 1 1 -1\n"
                               " 20 1002\n"
                               "0 __name__=m a=2\n 10 3001\n 20 3002\n"
                               "0 __name__=m a=2 b=1\n 10 2001\n 20 2002\n"
                               "0 __name__=m b=1\n 10 1\n 20 2\n";
    struct generated g = {.series = series, .series_count = 4};
    for (int way = 0; way < 3; way++) {
        struct hosted *h = serve(&g, way ? &generated_pushed : &generated_fetched, NULL, NULL);
        struct text is = answer_of(h, way == 2 ? &g : NULL, &asked, 1, STREAMED);
        assert_text(&is, want);
        text_free(&is);
        hosted_free(h);
    }
}

static void R02_the_first_listed_type_that_is_served(void **state)
{
    (void)state;
    static const struct asked asked = {0, 100000, "a", NULL, NULL};
    struct generated g = {.series = several, .series_count = 6};
    const pra_handler_opts opts = {.size = sizeof(opts),
                                   .response_types = 1u << PRA_RESPONSE_SAMPLES};
    struct hosted *h = serve(&g, &generated_fetched, NULL, &opts);
    ask_for(h, NULL, &asked, 1, STREAMED);
    check_answer(h, 400);
    assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_RESPONSE_TYPE);
    ask_for(h, NULL, &asked, 1, SAMPLED);
    check_answer(h, 200);
    hosted_free(h);
}

/* ── Options ── */

static const struct generated_series places[] = {
    {{LABEL("__name__", "m"), LABEL("x", "1")}, 2, 0, 10, 2, 0},
    {{LABEL("__name__", "m"), LABEL("region", "mars")}, 2, 0, 10, 1, 0},
    {{LABEL("__name__", "m"), LABEL("a", "1")}, 2, 0, 10, 1, 0},
};

static const pra_label external[] = {LABEL("region", "eu"), LABEL("dc", "7")};

/* Merged into series, whose own label wins; sorted after that; a matcher for one means those
 * without. */
static void R08_external_labels(void **state)
{
    static const struct {
        struct asked asked;
        const char *want;
    } cases[] = {
        {{0, 10, "m", NULL, NULL},
         "0 __name__=m a=1 dc=7 region=eu\n 0 2000\n"
         "0 __name__=m dc=7 region=eu x=1\n 0 0\n 10 1\n"
         "0 __name__=m dc=7 region=mars\n 0 1000\n"},
        {{0, 10, "m", "region", "eu"},
         "0 __name__=m a=1 dc=7 region=eu\n 0 2000\n"
         "0 __name__=m dc=7 region=eu x=1\n 0 0\n 10 1\n"},
        {{0, 10, "m", "region", "mars"}, "0 __name__=m dc=7 region=mars\n 0 1000\n"},
        {{0, 10, "m", "dc", "8"}, ""},
    };
    (void)state;
    struct generated g = {.series = places, .series_count = 3};
    const pra_handler_opts opts = {
        .size = sizeof(opts), .external_labels = external, .external_label_count = 2};
    for (int way = 0; way < 3; way++) {
        struct hosted *h = serve(&g, way ? &generated_pushed : &generated_fetched, NULL, &opts);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct generated *stepped = way == 2 ? &g : NULL;
            struct text is = answer_of(h, stepped, &cases[i].asked, 1, STREAMED);
            assert_text(&is, cases[i].want);
            text_free(&is);
            is = answer_of(h, stepped, &cases[i].asked, 1, SAMPLED);
            assert_int_equal(is.len, strlen(cases[i].want));
            text_free(&is);
        }
        hosted_free(h);
    }
}

static void ignored_matchers_are_left_out(void **state)
{
    (void)state;
    static const char *const names[] = {"replica", "prometheus"};
    static const struct asked asked[] = {{0, 10, "m", "replica", "b"}, {0, 10, "m", "x", "9"}};
    struct generated g = {.series = places, .series_count = 3};
    const pra_handler_opts opts = {
        .size = sizeof(opts), .ignored_matchers_cstr = names, .ignored_matcher_count = 2};
    struct hosted *h = serve(&g, &generated_fetched, NULL, &opts);
    struct text is = answer_of(h, NULL, asked, 2, STREAMED);
    assert_text(&is, "0 __name__=m a=1\n 0 2000\n0 __name__=m region=mars\n 0 1000\n"
                     "0 __name__=m x=1\n 0 0\n 10 1\n");
    text_free(&is);
    hosted_free(h);
}

static int64_t at_5000(void *ctx)
{
    ++*(int *)ctx;
    return 5000;
}

static void what_is_too_young_or_too_old_is_not_read(void **state)
{
    (void)state;
    static const struct generated_series series[] = {{{LABEL("__name__", "m")}, 1, 0, 500, 20, 0}};
    static const struct asked asked[] = {{INT64_MIN, INT64_MAX, "m", NULL, NULL},
                                         {4100, 4200, "m", NULL, NULL},
                                         {0, 100, "m", NULL, NULL},
                                         {5000, 9000, "m", NULL, NULL}};
    static const struct {
        uint64_t delay, age;
        const char *want;
    } cases[] = {
        {1000, 2000, "0 __name__=m\n 3000 6\n 3500 7\n 4000 8\n"},
        {0, 1000,
         "0 __name__=m\n 4000 8\n 4500 9\n 5000 10\n 5500 11\n 6000 12\n 6500 13\n 7000 14\n"
         " 7500 15\n 8000 16\n 8500 17\n 9000 18\n 9500 19\n"
         "3 __name__=m\n 5000 10\n 5500 11\n 6000 12\n 6500 13\n 7000 14\n 7500 15\n"
         " 8000 16\n 8500 17\n 9000 18\n"},
        {4800, PRA_UNLIMITED, "0 __name__=m\n 0 0\n2 __name__=m\n 0 0\n"},
        {PRA_UNLIMITED, 0, ""},
    };
    struct generated g = {.series = series, .series_count = 1};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int looked = 0;
        const pra_handler_opts opts = {.size = sizeof(opts),
                                       .read_delay_ms = cases[i].delay,
                                       .read_max_age_ms = cases[i].age,
                                       .clock = {&looked, at_5000}};
        struct hosted *h = serve(&g, &generated_fetched, NULL, &opts);
        struct text is = answer_of(h, NULL, asked, 4, STREAMED);
        assert_text(&is, cases[i].want);
        text_free(&is);
        is = answer_of(h, NULL, asked, 4, SAMPLED);
        assert_text(&is, cases[i].want);
        text_free(&is);
        assert_int_equal(looked, 2);
        hosted_free(h);
    }
    int64_t now = 5000; /* kept by the host */
    const pra_handler_opts opts = {.size = sizeof(opts),
                                   .read_delay_ms = 1000,
                                   .read_max_age_ms = 2000,
                                   .clock = {&now, NULL}};
    struct hosted *h = serve(&g, &generated_fetched, NULL, &opts);
    struct text is = answer_of(h, NULL, asked, 4, SAMPLED);
    assert_text(&is, cases[0].want);
    text_free(&is);
    now = INT64_MAX;
    is = answer_of(h, NULL, asked, 4, SAMPLED);
    assert_text(&is, "");
    text_free(&is);
    hosted_free(h);
}

/* ── Limits ── */

static void R09_the_sample_limit_is_for_sampled_answers(void **state)
{
    (void)state;
    static const struct asked asked = {INT64_MIN, INT64_MAX, "b", NULL, NULL};
    const pra_limits limits = {.size = sizeof(limits), .max_read_samples = 2499};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    struct generated g = {.series = several, .series_count = 6};
    for (int way = 0; way < 3; way++) {
        struct hosted *h = serve(&g, way ? &generated_pushed : &generated_fetched, NULL, &opts);
        for (g.careless = 0; g.careless < 2; g.careless++) {
            ask_for(h, way == 2 ? &g : NULL, &asked, 1, SAMPLED);
            check_answer(h, 400);
            assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_SAMPLE_LIMIT);
            assert_memory_equal(h->answer.ptr, "exceeded sample limit (2499)", 28);
            ask_for(h, way == 2 ? &g : NULL, &asked, 1, STREAMED);
            check_answer(h, 200);
            struct streamed s = read_streamed(h->answer);
            assert_int_equal(s.histograms, 2500);
            text_free(&s.text);
        }
        hosted_free(h);
    }
}

static void the_labels_of_an_answer_have_a_limit(void **state)
{
    (void)state;
    const pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 500};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    static const struct asked all = {0, 10, ".*", NULL, NULL}, few = {0, 10, "c", NULL, NULL};
    struct generated g = {.series = several, .series_count = 6};
    struct hosted *h = serve(&g, &generated_fetched, NULL, &opts);
    for (g.careless = 0; g.careless < 2; g.careless++)
        for (int32_t type = SAMPLED; type <= STREAMED; type++)
            for (int round = 0; round < 3; round++) { /* what was taken is given back */
                ask_for(h, NULL, &all, 1, type);
                check_answer(h, 400);
                assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_RESPONSE_TOO_LARGE);
                ask_for(h, NULL, &few, 1, type);
                check_answer(h, 200);
            }
    hosted_free(h);
}

/* A budget below one chunk still takes one chunk a frame. */
static void R25_frames_by_their_budget(void **state)
{
    (void)state;
    static const struct generated_series series[] = {{{LABEL("__name__", "m")}, 1, 0, 1, 1200, 0}};
    static const struct asked asked = {0, 100000, "m", NULL, NULL};
    static const struct {
        uint64_t bytes;
        size_t frames;
    } cases[] = {{1, 10}, {100, 10}, {0, 1}};
    struct generated g = {.series = series, .series_count = 1};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int way = 0; way < 2; way++) {
            const pra_limits limits = {.size = sizeof(limits), .max_frame_bytes = cases[i].bytes};
            const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
            struct hosted *h = serve(&g, way ? &generated_pushed : &generated_fetched, NULL, &opts);
            ask_for(h, NULL, &asked, 1, STREAMED);
            check_answer(h, 200);
            struct streamed s = read_streamed(h->answer);
            assert_int_equal(s.frames, cases[i].frames);
            assert_int_equal(s.samples, 1200);
            text_free(&s.text);
            hosted_free(h);
        }
}

/* ── What it costs ── */

enum { MANY = 10000000, PIECE = 64 << 10, FRAME = 1 << 20 };

static const struct generated_series endless[] = {{{LABEL("__name__", "m")}, 1, 0, 15000, MANY, 0}};
static const struct asked all_of_it = {0, INT64_MAX, "m", NULL, NULL};

/* Ten million samples through a few MiB, and none before it is wanted. */
static void memory_is_one_frame_and_back_pressure_holds(void **state)
{
    (void)state;
    struct failing_alloc f;
    struct generated g = {.series = endless, .series_count = 1, .batch = 1000};
    failing_alloc_init(&f);
    struct hosted *h = serve(&g, &generated_fetched, &f.alloc, NULL);
    ask_for(h, NULL, &all_of_it, 1, STREAMED);
    uint64_t total = 0;
    size_t pieces = 0;
    const void *piece;
    size_t len;
    int rc;
    assert_int_equal(g.selects, 1);
    assert_int_equal(g.fetches, 1); /* the first piece stands */
    while ((rc = pra_exchange_body(h->x, &piece, &len)) == PRA_OK) {
        size_t fetches = g.fetches;
        assert_in_range(len, 1, FRAME + PIECE);
        assert_int_equal(pra_exchange_status(h->x), 200);
        assert_true(pra_exchange_body_length(h->x) == UINT64_MAX);
        assert_int_equal(g.fetches, fetches);
        total += len;
        pieces++;
        assert_in_range(g.fetches, 1, pieces + 1); /* a frame a call, and the call at the end */
    }
    assert_int_equal(rc, PRA_DONE);
    pra_exchange_stats stats = stats_of(h);
    assert_int_equal(stats.samples, MANY);
    assert_int_equal(stats.series, 1);
    assert_true(stats.response_bytes == total);
    assert_in_range(pieces, 10, 1000);
    assert_in_range(f.peak, FRAME, 4 << 20);
    /* nothing was read that was not sent: at each end of a frame, the rest of a batch */
    assert_in_range(g.pushed, MANY, MANY + g.fetches * g.batch);
    hosted_free(h);
    assert_int_equal(f.live, 0);
}

/* Once the last piece is taken, or the answer given up, an exchange holds no more than its parts
 * may keep. */
static void an_exchange_that_has_streamed_keeps_little(void **state)
{
    (void)state;
    enum { RETAIN = 8 << 10, PARTS = 8 };
    static const struct asked nothing = {0, 1, "none", NULL, NULL};
    const pra_limits limits = {.size = sizeof(limits), .retain_bytes = RETAIN};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    for (int way = 0; way < 3; way++) {
        struct failing_alloc f;
        struct generated g = {.series = several, .series_count = 6};
        const void *piece;
        size_t len;
        failing_alloc_init(&f);
        struct hosted *h = serve(&g, way ? &generated_pushed : &generated_fetched, &f.alloc, &opts);
        struct generated *stepped = way == 2 ? &g : NULL;
        ask_for(h, stepped, &nothing, 1, STREAMED);
        const size_t small = f.live;
        ask_for(h, stepped, questions, QUESTIONS, STREAMED);
        while (pra_exchange_body(h->x, &piece, &len) == PRA_OK)
            ;
        assert_in_range(f.live, 1, small + PARTS * RETAIN);
        assert_in_range(f.peak, 10000, 2 << 20);
        ask_for(h, stepped, questions, QUESTIONS, STREAMED);
        ask_for(h, stepped, &nothing, 1, STREAMED);
        assert_in_range(f.live, 1, small + PARTS * RETAIN);
        hosted_free(h);
        assert_int_equal(f.live, 0);
    }
}

static void R28_short_frames_go_out_together(void **state)
{
    (void)state;
    enum { SERIES = 3000 };
    static struct generated_series series[SERIES];
    static char names[SERIES][8];
    static const struct asked asked = {0, 1000, "m", NULL, NULL};
    for (size_t i = 0; i < SERIES; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%05zu", (i * 7) % SERIES);
        series[i] =
            (struct generated_series){.labels = {LABEL("__name__", "m"), {S("i"), {names[i], 5}}},
                                      .label_count = 2,
                                      .step_ms = 1,
                                      .count = 60};
    }
    struct generated g = {.series = series, .series_count = SERIES};
    for (int way = 0; way < 2; way++) {
        struct hosted *h = serve(&g, way ? &generated_pushed : &generated_fetched, NULL, NULL);
        const void *piece;
        size_t len, pieces = 0, total = 0;
        ask_for(h, NULL, &asked, 1, STREAMED);
        while (pra_exchange_body(h->x, &piece, &len) == PRA_OK) {
            pieces++;
            total += len;
        }
        assert_in_range(total, 4 * PIECE, 100 * PIECE);
        assert_in_range(pieces, 1, total / PIECE + 1);
        struct text is = answer_of(h, NULL, &asked, 1, STREAMED);
        size_t at = 0;
        for (const char *p = is.data; (p = strstr(p, " i=")); p += 3, at++)
            assert_int_equal(strtoul(p + 3, NULL, 10), at);
        assert_int_equal(at, SERIES);
        text_free(&is);
        hosted_free(h);
    }
}

/* ── How it fails ── */

static void before_the_first_byte_a_failure_has_a_status(void **state)
{
    static const struct {
        const char *what;
        struct generated g;
        int status;
        int code;
    } cases[] = {
        {"select refuses", {.select_code = PRA_ERR_REJECT}, 400, PRA_ERR_REJECT},
        {"select later", {.select_code = PRA_ERR_RETRY}, 503, PRA_ERR_RETRY},
        {"select, strange", {.select_code = PRA_DONE}, 500, PRA_ERR_CALLBACK},
        {"select raises", {.select_code = PRA_ERR_USER}, 500, PRA_ERR_USER},
        {"fetch", {.fetch_code = PRA_ERR_IO}, 503, PRA_ERR_IO},
        {"fetch has enough", {.fetch_code = PRA_DONE}, 500, PRA_ERR_CALLBACK},
        {"fetch, strange", {.fetch_code = 42}, 500, PRA_ERR_CALLBACK},
        {"fetch raises", {.fetch_code = PRA_ERR_USER}, 500, PRA_ERR_USER},
        {"fetch again", {.fetch_code = PRA_ERR_RETRY, .fetch_fails = 1}, 503, PRA_ERR_RETRY},
        {"order", {.disorder = 1}, 500, PRA_ERR_CALLBACK},
        {"order, careless", {.disorder = 1, .careless = 1}, 500, PRA_ERR_CALLBACK},
    };
    (void)state;
    static const struct asked asked = {0, 100000, "a|c", NULL, NULL};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int32_t type = SAMPLED; type <= STREAMED; type++) {
            struct generated g = cases[i].g;
            g.series = several;
            g.series_count = 6;
            struct hosted *h = serve(&g, &generated_fetched, NULL, NULL);
            ask_for(h, NULL, &asked, 1, type);
            if (pra_exchange_status(h->x) != cases[i].status)
                fail_msg("%s: %d", cases[i].what, pra_exchange_status(h->x));
            check_answer(h, cases[i].status);
            assert_int_equal(pra_exchange_error(h->x)->code, cases[i].code);
            assert_int_equal(h->ran, cases[i].code == PRA_ERR_USER ? PRA_ERR_USER : PRA_OK);
            g = (struct generated){.series = several, .series_count = 6};
            ask_for(h, NULL, &asked, 1, type);
            check_answer(h, 200);
            hosted_free(h);
        }
}

static void R22_a_failure_in_the_middle_breaks_the_body_off(void **state)
{
    static const int codes[] = {PRA_ERR_IO, PRA_ERR_USER, PRA_ERR_RETRY, 42};
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct generated g = {.series = endless,
                              .series_count = 1,
                              .batch = 1000,
                              .fetch_code = codes[i],
                              .fetch_fails = 2};
        struct hosted *h = serve(&g, &generated_fetched, NULL, NULL);
        const void *piece;
        size_t len;
        ask_for(h, NULL, &all_of_it, 1, STREAMED);
        assert_int_equal(pra_exchange_status(h->x), 200);
        assert_int_equal(pra_exchange_body(h->x, &piece, &len), PRA_OK);
        assert_int_equal(pra_exchange_body(h->x, &piece, &len), PRA_OK);
        int rc = pra_exchange_body(h->x, &piece, &len);
        assert_int_equal(rc, codes[i] < 0 ? codes[i] : PRA_ERR_CALLBACK);
        assert_int_equal(pra_exchange_body(h->x, &piece, &len), rc);
        assert_int_equal(stats_of(h).code, rc);
        assert_int_equal(stats_of(h).status, 200);
        assert_true(stats_of(h).samples > 1000);
        g.fetch_code = 0;
        ask_for(h, NULL, &all_of_it, 1, STREAMED); /* given up after one piece */
        assert_int_equal(pra_exchange_body(h->x, &piece, &len), PRA_OK);
        g.series = several;
        g.series_count = 6;
        struct text is = answer_of(h, NULL, questions, QUESTIONS, STREAMED);
        assert_true(is.len > 0);
        text_free(&is);
        g.series = endless;
        g.series_count = 1;
        ask_for(h, NULL, &all_of_it, 1, STREAMED); /* freed with the exchange */
        hosted_free(h);
    }
}

/* A storage that always gives all, or does not look at what the sink says, gives the same. */
static void storages_that_give_too_much(void **state)
{
    (void)state;
    const pra_limits limits = {.size = sizeof(limits), .max_frame_bytes = 100};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    struct generated g = {.series = several, .series_count = 6};
    struct hosted *h = serve(&g, &generated_fetched, NULL, &opts);
    struct text want = answer_of(h, NULL, questions, QUESTIONS, STREAMED);
    for (int misdeed = 1; misdeed < 4; misdeed++) {
        g.whole = misdeed & 1;
        g.careless = misdeed >> 1;
        g.stray = misdeed == 3;
        g.inside = h->x;
        for (int32_t type = SAMPLED; type <= STREAMED; type++) {
            struct text is = answer_of(h, NULL, questions, QUESTIONS, type);
            assert_text(&is, want.data);
            text_free(&is);
        }
    }
    text_free(&want);
    hosted_free(h);
}

static int whole_exchange(struct failing_alloc *f, void *arg)
{
    static const struct asked asked[] = {{0, 4000, ".*", NULL, NULL}, {0, 90, "[ac]", NULL, NULL}};
    const int way = *(int *)arg;
    const pra_limits limits = {.size = sizeof(limits), .max_frame_bytes = 500};
    const pra_handler_opts opts = {.size = sizeof(opts),
                                   .limits = &limits,
                                   .external_labels = external,
                                   .external_label_count = 2};
    struct generated g = {.series = several, .series_count = 6};
    struct hosted *h = serve(&g, way ? &generated_pushed : &generated_fetched, &f->alloc, &opts);
    if (!h)
        return PRA_ERR_NOMEM;
    const void *piece;
    size_t len;
    int rc = PRA_OK;
    for (int32_t type = STREAMED; type >= SAMPLED && rc == PRA_OK; type--) {
        ask_for(h, way == 2 ? &g : NULL, asked, 2, type);
        int status = pra_exchange_status(h->x);
        rc = pra_exchange_error(h->x)->code;
        assert_int_equal(status, rc ? 503 : 200);
        while (rc == PRA_OK)
            rc = pra_exchange_body(h->x, &piece, &len);
        assert_true(rc == PRA_DONE || rc == PRA_ERR_NOMEM);
        rc = rc == PRA_DONE ? PRA_OK : rc;
    }
    if (rc) {
        enum failing_mode mode = f->mode;
        f->mode = FAIL_NEVER;
        struct text is = answer_of(h, NULL, asked, 2, STREAMED);
        assert_true(is.len > 0);
        text_free(&is);
        f->mode = mode;
    }
    hosted_free(h);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        const char *wrong = failing_alloc_loop(whole_exchange, &way);
        if (wrong)
            fail_msg("way %d: %s", way, wrong);
    }
}

static void select_and_fetch_go_together(void **state)
{
    (void)state;
    pra_storage_vtbl half = generated_fetched;
    half.fetch = NULL;
    const pra_storage storage = {&half, NULL};
    pra_handler *handler;
    assert_int_equal(pra_handler_new(NULL, &storage, NULL, &handler, NULL), PRA_ERR_INVALID_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampled_and_streamed_answers_agree),
        cmocka_unit_test(R05_R24_range_and_order),
        cmocka_unit_test(R02_the_first_listed_type_that_is_served),
        cmocka_unit_test(R08_external_labels),
        cmocka_unit_test(ignored_matchers_are_left_out),
        cmocka_unit_test(what_is_too_young_or_too_old_is_not_read),
        cmocka_unit_test(R09_the_sample_limit_is_for_sampled_answers),
        cmocka_unit_test(the_labels_of_an_answer_have_a_limit),
        cmocka_unit_test(R25_frames_by_their_budget),
        cmocka_unit_test(memory_is_one_frame_and_back_pressure_holds),
        cmocka_unit_test(an_exchange_that_has_streamed_keeps_little),
        cmocka_unit_test(R28_short_frames_go_out_together),
        cmocka_unit_test(before_the_first_byte_a_failure_has_a_status),
        cmocka_unit_test(R22_a_failure_in_the_middle_breaks_the_body_off),
        cmocka_unit_test(storages_that_give_too_much),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(select_and_fetch_go_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
