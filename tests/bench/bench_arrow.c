/* SPDX-License-Identifier: Apache-2.0 */
/* A request as Arrow tables against decoding it, and a table as an answer against adding its series
 * without Arrow. */
#include "bench.h"

#include <pra_arrow.h>

#include <stdlib.h>
#include <string.h>

typedef struct arrow_bench {
    pra_write_request *v1;
    pra_write_request *v2;
    bench_bytes v1_block;
    bench_bytes v2_block;
    pra_series_sink *sink;
} arrow_bench;

static void decode(pra_write_request *req, int32_t version, bench_bytes block)
{
    bench_require(pra_write_request_decode_snappy(req, version, block.ptr, block.len, NULL, NULL) ==
                      PRA_OK,
                  "decode");
    bench_require(pra_write_request_canonicalize(req, 0, NULL, NULL) == 0, "canonicalize");
}

static void export_table(const pra_write_request *req, int32_t table)
{
    struct ArrowArray array;
    bench_require(pra_arrow_export(req, table, NULL, NULL, &array, NULL) == PRA_OK, "export");
    array.release(&array);
}

static void run_decode_v1(void *ctx)
{
    arrow_bench *b = ctx;
    decode(b->v1, PRA_WRITE_V1, b->v1_block);
}

static void run_decode_v2(void *ctx)
{
    arrow_bench *b = ctx;
    decode(b->v2, PRA_WRITE_V2, b->v2_block);
}

static void run_samples(void *ctx)
{
    export_table(((arrow_bench *)ctx)->v1, PRA_ARROW_SAMPLES);
}

static void run_series_v1(void *ctx)
{
    export_table(((arrow_bench *)ctx)->v1, PRA_ARROW_SERIES);
}

static void run_series_v2(void *ctx)
{
    export_table(((arrow_bench *)ctx)->v2, PRA_ARROW_SERIES);
}

static const bench_case export_cases[] = {
    {"1.0: snappy + decode + canonicalize", run_decode_v1, NULL, 0},
    {"2.0: snappy + decode + canonicalize", run_decode_v2, NULL, 0},
    {"samples", run_samples, NULL, 0.1},
    {"series of 1.0", run_series_v1, NULL, 1.75},
    {"series of 2.0", run_series_v2, NULL, 1.25},
};

/* ---- answers: a row a sample, of 100 series in turn */

enum { ROWS = 100000, SERIES = 100 };

static int64_t times[ROWS];
static double values[ROWS];
static uint8_t numbers[ROWS];
static int32_t name_offsets[SERIES + 1];
static char names[SERIES * 3];

static void forget_schema(struct ArrowSchema *s)
{
    s->release = NULL;
}

static void forget_array(struct ArrowArray *a)
{
    a->release = NULL;
}

static int give_schema(struct ArrowArrayStream *s, struct ArrowSchema *out)
{
    static struct ArrowSchema text = {.format = "u", .release = forget_schema};
    static struct ArrowSchema columns[] = {
        {.format = "tsm:", .name = "timestamp", .release = forget_schema},
        {.format = "g", .name = "value", .release = forget_schema},
        {.format = "C", .name = "job", .dictionary = &text, .release = forget_schema}};
    static struct ArrowSchema *children[] = {&columns[0], &columns[1], &columns[2]};
    (void)s;
    *out = (struct ArrowSchema){
        .format = "+s", .n_children = 3, .children = children, .release = forget_schema};
    return 0;
}

static int give_array(struct ArrowArrayStream *s, struct ArrowArray *out)
{
    static const void *buffers[4][3] = {
        {NULL, times}, {NULL, values}, {NULL, numbers}, {NULL, name_offsets, names}};
    static struct ArrowArray text = {
        .length = SERIES, .n_buffers = 3, .buffers = buffers[3], .release = forget_array};
    static struct ArrowArray columns[] = {
        {.length = ROWS, .n_buffers = 2, .buffers = buffers[0], .release = forget_array},
        {.length = ROWS, .n_buffers = 2, .buffers = buffers[1], .release = forget_array},
        {.length = ROWS,
         .n_buffers = 2,
         .buffers = buffers[2],
         .dictionary = &text,
         .release = forget_array}};
    static struct ArrowArray *children[] = {&columns[0], &columns[1], &columns[2]};
    int *given = s->private_data;
    *out = (struct ArrowArray){.length = ROWS,
                               .n_buffers = 1,
                               .buffers = buffers[0],
                               .n_children = 3,
                               .children = children,
                               .release = (*given)++ ? NULL : forget_array};
    return 0;
}

static const char *say_nothing(struct ArrowArrayStream *s)
{
    (void)s;
    return NULL;
}

static void forget_stream(struct ArrowArrayStream *s)
{
    s->release = NULL;
}

static void push_table(arrow_bench *b)
{
    int given = 0;
    struct ArrowArrayStream stream = {give_schema, give_array, say_nothing, forget_stream, &given};
    pra_series_sink_reset(b->sink, INT64_MIN, INT64_MAX);
    bench_require(pra_arrow_push(&stream, b->sink, NULL, NULL, NULL) == PRA_OK, "push");
}

/* Rows of a series side by side, or all series in turn. */
static void lay_rows(int in_turn)
{
    for (int i = 0; i < ROWS; i++) {
        numbers[i] = (uint8_t)(in_turn ? i % SERIES : i / (ROWS / SERIES));
        times[i] = in_turn ? i / SERIES : i % (ROWS / SERIES);
        values[i] = i;
    }
}

static void run_direct(void *ctx)
{
    arrow_bench *b = ctx;
    lay_rows(0);
    pra_series_sink_reset(b->sink, INT64_MIN, INT64_MAX);
    for (int i = 0; i < SERIES; i++) {
        const pra_label label = {{"job", 3}, {names + i * 3, 3}};
        const int first = i * (ROWS / SERIES);
        bench_require(pra_series_sink_add(b->sink, &label, 1, times + first, values + first,
                                          ROWS / SERIES, NULL) == PRA_OK,
                      "add");
    }
}

static void run_side_by_side(void *ctx)
{
    lay_rows(0);
    push_table(ctx);
}

static void run_in_turn(void *ctx)
{
    lay_rows(1);
    push_table(ctx);
}

static uint64_t sum_of_sink(void *ctx)
{
    return 1 + pra_series_sink_sample_count(((arrow_bench *)ctx)->sink);
}

static const bench_case answer_cases[] = {
    {"series added without Arrow", run_direct, sum_of_sink, 0},
    {"rows of a series side by side", run_side_by_side, sum_of_sink, 3.0},
    {"rows of all series in turn", run_in_turn, sum_of_sink, 0},
};

int main(int argc, char **argv)
{
    bench_args args;
    arrow_bench b = {0};
    pra_buffer *out = NULL;
    bench_parse(argc, argv, &args);
    b.v1_block = bench_compress(bench_write_request(10000));
    bench_require(pra_write_request_new(NULL, &b.v1) == PRA_OK &&
                      pra_write_request_new(NULL, &b.v2) == PRA_OK &&
                      pra_buffer_new(NULL, &out) == PRA_OK &&
                      pra_series_sink_new(NULL, INT64_MIN, INT64_MAX, NULL, &b.sink) == PRA_OK,
                  "new");
    decode(b.v1, PRA_WRITE_V1, b.v1_block);
    bench_require(pra_write_request_encode(b.v1, PRA_WRITE_V2, out, NULL) == PRA_OK, "encode");
    b.v2_block =
        bench_compress((bench_bytes){(char *)(uintptr_t)pra_buffer_data(out), pra_buffer_len(out)});
    decode(b.v2, PRA_WRITE_V2, b.v2_block);
    for (int i = 0; i < SERIES; i++) {
        names[i * 3] = 'j';
        names[i * 3 + 1] = (char)('0' + i / 10);
        names[i * 3 + 2] = (char)('0' + i % 10);
        name_offsets[i + 1] = (i + 1) * 3;
    }
    const bench_group exports = {"arrow: 10,000 series", export_cases, 5, 20, &b};
    const bench_group answers = {"arrow: 100,000 rows as an answer", answer_cases, 3, 10, &b};
    bench_run(&exports, &args);
    bench_run(&answers, &args);
    pra_series_sink_free(b.sink);
    pra_buffer_free(out);
    pra_write_request_free(b.v1);
    pra_write_request_free(b.v2);
    return 0;
}
