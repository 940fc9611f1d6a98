/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of other servers: decode_read_response. */
#include "thunk_python.h"

#include <string.h>

/* A decoded answer: series as columns, and which of them answer which query. */
typedef struct answer {
    pra_columns columns;
    const uint32_t *offsets; /* result_count + 1 */
    size_t result_count;
    pra_read_response *sampled; /* one of them holds the memory */
    pra_write_request *streamed;
    pra_buffer *streamed_offsets;
} answer;

/* ---- a streamed answer, into a request that is built; without the GIL */

typedef struct joiner {
    pra_stream_reader *reader;
    answer *out;
    pra_buffer *labels; /* pra_label, of the series at hand */
    int64_t query;      /* that the series at hand belongs to; -1: none */
    uint64_t max_memory_bytes;
} joiner;

static pra_str text_of(const char *base, pra_span span)
{
    return (pra_str){base + span.off, span.len};
}

static int is_same(const char *base, pra_span span, const char *other, pra_span theirs)
{
    return span.len == theirs.len && memcmp(base + span.off, other + theirs.off, span.len) == 0;
}

/* Whether a series is the one before, going on. */
static int goes_on(const joiner *j, const pra_series *series)
{
    pra_columns built = {.size = sizeof built};
    if (j->query != pra_stream_reader_query_index(j->reader) ||
        pra_write_request_columns(j->out->streamed, &built)) {
        return 0;
    }
    const uint32_t first = built.label_offsets[built.series_count - 1];
    const pra_label_span *before = built.labels + first;
    size_t same = 0;
    while (same < series->label_count && same < built.label_count - first &&
           is_same(built.base, before[same].name, series->base, series->labels[same].name) &&
           is_same(built.base, before[same].value, series->base, series->labels[same].value)) {
        same++;
    }
    return same == series->label_count && same == built.label_count - first;
}

/* Results up to that of query, each beginning where the series so far end. */
static int begin_results(joiner *j, int64_t query)
{
    pra_columns built = {.size = sizeof built};
    int code = pra_write_request_columns(j->out->streamed, &built);
    const uint32_t start = (uint32_t)built.series_count;
    if (query < j->query || query > UINT16_MAX) {
        return PRA_ERR_FRAME; /* a query that was over, or more of them than anybody asks */
    }
    while (code == PRA_OK && (int64_t)j->out->result_count <= query) {
        code = pra_buffer_append(j->out->streamed_offsets, &start, sizeof start);
        j->out->result_count++;
    }
    j->query = query;
    return code;
}

static int begin_series(joiner *j, const pra_series *series)
{
    int code = begin_results(j, pra_stream_reader_query_index(j->reader));
    pra_buffer_reset(j->labels);
    for (size_t i = 0; code == PRA_OK && i < series->label_count; i++) {
        const pra_label label = {text_of(series->base, series->labels[i].name),
                                 text_of(series->base, series->labels[i].value)};
        code = pra_buffer_append(j->labels, &label, sizeof label);
    }
    return code ? code
                : pra_write_request_add_series(j->out->streamed, pra_buffer_data(j->labels),
                                               series->label_count);
}

static int take_series(joiner *j, const pra_columns *frame, size_t index)
{
    pra_series series = {.size = sizeof series};
    int code = pra_columns_series(frame, index, &series);
    if (code == PRA_OK && !goes_on(j, &series)) {
        code = begin_series(j, &series);
    }
    if (code == PRA_OK) {
        code = pra_write_request_add_samples(j->out->streamed, series.timestamps_ms, series.values,
                                             NULL, series.sample_count);
    }
    for (size_t i = 0; code == PRA_OK && i < series.histogram_count; i++) {
        code = pra_write_request_add_histogram(j->out->streamed, frame,
                                               frame->histogram_offsets[index] + i);
    }
    return code == PRA_OK && pra_write_request_memory(j->out->streamed) > j->max_memory_bytes
               ? PRA_ERR_MEMORY_BUDGET
               : code;
}

static int take_frame(joiner *j)
{
    pra_columns frame = {.size = sizeof frame};
    int code = pra_stream_reader_columns(j->reader, &frame);
    for (size_t i = 0; code == PRA_OK && i < frame.series_count; i++) {
        code = take_series(j, &frame, i);
    }
    return code;
}

static int join(joiner *j, const void *data, size_t len, pra_error *err)
{
    int code = pra_stream_reader_feed(j->reader, data, len);
    while (code == PRA_OK && (code = pra_stream_reader_next(j->reader, err)) == PRA_OK) {
        code = take_frame(j);
    }
    code = code == PRA_DONE ? pra_stream_reader_finish(j->reader, err) : code;
    if (code == PRA_OK) {
        code = pra_write_request_columns(j->out->streamed, &j->out->columns);
    }
    if (code == PRA_OK) {
        const uint32_t end = (uint32_t)j->out->columns.series_count;
        code = pra_buffer_append(j->out->streamed_offsets, &end, sizeof end);
    }
    j->out->offsets = pra_buffer_data(j->out->streamed_offsets);
    return code;
}

static int decode_streamed(const Py_buffer *data, const pra_limits *limits, answer *out,
                           pra_error *err)
{
    joiner j = {.out = out, .query = -1, .max_memory_bytes = limits->max_memory_bytes};
    if (j.max_memory_bytes == 0) {
        j.max_memory_bytes = UINT64_C(128) << 20;
    }
    int code = pra_stream_reader_new(NULL, limits, &j.reader);
    if (code == PRA_OK) {
        code = pra_buffer_new(NULL, &j.labels);
    }
    if (code == PRA_OK) {
        code = pra_buffer_new(NULL, &out->streamed_offsets);
    }
    if (code == PRA_OK) {
        code = pra_write_request_new(NULL, &out->streamed);
    }
    if (code == PRA_OK) {
        code = join(&j, data->buf, (size_t)data->len, err);
    }
    pra_buffer_free(j.labels);
    pra_stream_reader_free(j.reader);
    return code;
}

/* ---- a sampled answer */

static int decode_sampled(const Py_buffer *data, const pra_limits *limits, answer *out,
                          pra_error *err)
{
    int code = pra_read_response_new(NULL, &out->sampled);
    if (code == PRA_OK) {
        code = pra_read_response_decode_snappy(out->sampled, data->buf, (size_t)data->len, limits,
                                               err);
    }
    if (code == PRA_OK) {
        code = pra_read_response_columns(out->sampled, &out->columns);
    }
    if (code == PRA_OK) {
        out->result_count = pra_read_response_results(out->sampled, &out->offsets);
    }
    return code;
}

/* ---- as objects */

static PyObject *labels_dict(const pra_columns *c, size_t start, size_t end)
{
    PyObject *dict = PyDict_New();
    for (size_t i = start; dict && i < end; i++) {
        PyObject *name = pra__py_str(text_of(c->base, c->labels[i].name));
        PyObject *value = name ? pra__py_str(text_of(c->base, c->labels[i].value)) : NULL;
        if (!value || PyDict_SetItem(dict, name, value)) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *column_copy(const void *data, size_t count, const char *format)
{
    PyObject *bytes =
        PyBytes_FromStringAndSize(count ? data : "", (Py_ssize_t)(count * sizeof(double)));
    PyObject *view = bytes ? PyMemoryView_FromObject(bytes) : NULL;
    PyObject *column = view ? PyObject_CallMethod(view, "cast", "s", format) : NULL;
    Py_XDECREF(view);
    Py_XDECREF(bytes);
    return column;
}

static PyObject *make_series(const pra_columns *c, size_t index, PyObject *class)
{
    const uint32_t first = c->sample_offsets[index];
    const size_t count = c->sample_offsets[index + 1] - first;
    const uint32_t histogram = c->histogram_offsets[index];
    PyObject *labels = labels_dict(c, c->label_offsets[index], c->label_offsets[index + 1]);
    PyObject *times =
        labels ? column_copy(count ? c->timestamps_ms + first : NULL, count, "q") : NULL;
    PyObject *values = times ? column_copy(count ? c->values + first : NULL, count, "d") : NULL;
    PyObject *histograms =
        values ? pra__py_histograms_list(c, histogram, c->histogram_offsets[index + 1] - histogram)
               : NULL;
    PyObject *series = NULL;
    if (histograms) {
        series = PyObject_CallFunctionObjArgs(class, labels, times, values, histograms, NULL);
    }
    Py_XDECREF(labels);
    Py_XDECREF(times);
    Py_XDECREF(values);
    Py_XDECREF(histograms);
    return series;
}

static PyObject *make_result(const pra_columns *c, size_t start, size_t end, PyObject *class)
{
    PyObject *list = PyList_New((Py_ssize_t)(end - start));
    for (size_t i = start; list && i < end; i++) {
        PyObject *series = make_series(c, i, class);
        if (series) {
            PyList_SET_ITEM(list, (Py_ssize_t)(i - start), series);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *make_results(const answer *a)
{
    PyObject *module = PyImport_ImportModule("prom_remote_api._storage");
    PyObject *class = module ? PyObject_GetAttrString(module, "Series") : NULL;
    PyObject *list = class ? PyList_New((Py_ssize_t)a->result_count) : NULL;
    for (size_t i = 0; list && i < a->result_count; i++) {
        PyObject *result = make_result(&a->columns, a->offsets[i], a->offsets[i + 1], class);
        if (result) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, result);
        } else {
            Py_CLEAR(list);
        }
    }
    Py_XDECREF(class);
    Py_XDECREF(module);
    return list;
}

static PyObject *decode(const Py_buffer *data, int is_streamed, const pra_limits *limits)
{
    answer a = {.columns = {.size = sizeof a.columns}};
    pra_error err = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = is_streamed ? decode_streamed(data, limits, &a, &err)
                       : decode_sampled(data, limits, &a, &err);
    Py_END_ALLOW_THREADS;
    PyObject *results = code ? pra__py_raise_code(code, &err) : make_results(&a);
    pra_read_response_free(a.sampled);
    pra_write_request_free(a.streamed);
    pra_buffer_free(a.streamed_offsets);
    return results;
}

/* ---- the function */

/* 0 or 1; -1 with an exception. Parameters of the type do not matter. */
static int is_streamed(const char *content_type)
{
    static const char *const types[] = {"application/x-protobuf",
                                        "application/x-streamed-protobuf"};
    const size_t len = strcspn(content_type, "; ");
    for (int i = 0; i < 2; i++) {
        if (strlen(types[i]) == len &&
            PyOS_strnicmp(types[i], content_type, (Py_ssize_t)len) == 0) {
            return i;
        }
    }
    PyErr_Format(PyExc_ValueError, "no answer to a read has the content type '%.80s'",
                 content_type);
    return -1;
}

static PyObject *module_decode(PyObject *module, PyObject *args, PyObject *named)
{
    static char *names[] = {"data", "content_type", "limits", NULL};
    const char *content_type = "application/x-protobuf";
    PyObject *mapping = Py_None, *results = NULL;
    pra_limits limits = {.size = sizeof limits};
    Py_buffer data;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, named, "y*|$sO:decode_read_response", names, &data,
                                     &content_type, &mapping)) {
        return NULL;
    }
    int streamed = is_streamed(content_type);
    if (streamed >= 0 && !pra__py_limits(mapping, &limits)) {
        results = decode(&data, streamed, &limits);
    }
    PyBuffer_Release(&data);
    return results;
}

static PyMethodDef functions[] = {
    {"decode_read_response", (PyCFunction)(void (*)(void))module_decode,
     METH_VARARGS | METH_KEYWORDS,
     "decode_read_response(data, *, content_type='application/x-protobuf', limits=None)\n--\n\n"
     "The answer of another server to a remote read: a list of Series for each query. data: the "
     "body as it came; content_type: that of the answer, which says whether it is sampled (snappy "
     "and all) or streamed. timestamps and values of a Series are memoryviews of int64 and double, "
     "histograms a list. Of a streamed answer frames of one series are joined, and queries without "
     "series at the end are not known. limits: as of HandlerOptions. Raises Error."},
    {NULL, NULL, 0, NULL},
};

int pra__py_response_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
