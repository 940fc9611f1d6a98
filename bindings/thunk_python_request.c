/* SPDX-License-Identifier: Apache-2.0 */
/* WriteRequest: a request that a storage is given, or one that is kept. */
#include "thunk_python_write.h"

#include <string.h>

#include "pra_arrow.h"

typedef pra__py_request request;

int pra__py_request_enter(const request *r)
{
    return r->scope ? pra__py_scope_enter(r->scope) : 0;
}

void pra__py_request_leave(const request *r)
{
    if (r->scope) {
        pra__py_scope_leave(r->scope);
    }
}

static PyTypeObject request_type;

/* Takes memory, which may be NULL: an exception stands. */
static request *request_new(pra__py_memory *memory)
{
    request *r = memory ? PyObject_New(request, &request_type) : NULL;
    if (!r) {
        Py_XDECREF(memory);
        return NULL;
    }
    r->scope = NULL;
    r->result = NULL;
    r->memory = memory;
    return r;
}

PyObject *pra__py_write_request_new(pra__py_scope *scope, const pra_write_request *source,
                                    pra_write_result *result)
{
    request *r = request_new(pra__py_memory_new(source, 0));
    if (r) {
        r->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
        r->result = result;
        pra__py_scope_hold(scope, r->memory);
    }
    return (PyObject *)r;
}

static void request_dealloc(PyObject *self)
{
    request *r = (request *)self;
    Py_XDECREF(r->scope);
    Py_DECREF(r->memory);
    Py_TYPE(self)->tp_free(self);
}

/* ---- a sequence of series */

static Py_ssize_t request_length(PyObject *self)
{
    return (Py_ssize_t)((request *)self)->memory->columns.series_count;
}

static PyObject *request_item(PyObject *self, Py_ssize_t index)
{
    request *r = (request *)self;
    if (index < 0 || index >= request_length(self)) {
        PyErr_SetString(PyExc_IndexError, "no such series");
        return NULL;
    }
    if (pra__py_request_enter(r)) {
        return NULL;
    }
    PyObject *series = pra__py_series_new(r, (size_t)index);
    pra__py_request_leave(r);
    return series;
}

/* ---- columns */

static pra__py_field spans_field = {
    offsetof(pra_columns, labels), offsetof(pra_columns, label_count), .format = "I",
    .itemsize = sizeof(uint32_t), .width = sizeof(pra_label_span) / sizeof(uint32_t)};
static pra__py_field data_field = {offsetof(pra_columns, base), offsetof(pra_columns, base_len),
                                   .format = "B", .itemsize = 1};
static pra__py_field exemplar_timestamps_field = {offsetof(pra_columns, exemplar_timestamps_ms),
                                                  offsetof(pra_columns, exemplar_count),
                                                  .format = "q", .itemsize = sizeof(int64_t)};
static pra__py_field exemplar_values_field = {offsetof(pra_columns, exemplar_values),
                                              offsetof(pra_columns, exemplar_count), .format = "d",
                                              .itemsize = sizeof(double)};

#define OFFSETS(name)                                                                              \
    {                                                                                              \
        offsetof(pra_columns, name), offsetof(pra_columns, series_count),                          \
            .extra = 1, .format = "I", .itemsize = sizeof(uint32_t)                                \
    }
static pra__py_field label_offsets_field = OFFSETS(label_offsets);
static pra__py_field sample_offsets_field = OFFSETS(sample_offsets);
static pra__py_field histogram_offsets_field = OFFSETS(histogram_offsets);
static pra__py_field exemplar_offsets_field = OFFSETS(exemplar_offsets);

static PyObject *request_column(PyObject *self, void *field)
{
    request *r = (request *)self;
    if (pra__py_request_enter(r)) {
        return NULL;
    }
    PyObject *view = pra__py_column_all(r->memory, r->scope != NULL, field);
    pra__py_request_leave(r);
    return view;
}

static PyObject *fingerprints_bytes(const pra_columns *c)
{
    const size_t size = sizeof(uint64_t);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(c->series_count * size));
    for (size_t i = 0; bytes && i < c->series_count; i++) {
        const uint32_t first = c->label_offsets[i];
        const size_t count = c->label_offsets[i + 1] - first;
        const uint64_t hash =
            pra_labels_fingerprint(c->base, count ? c->labels + first : NULL, count);
        memcpy(PyBytes_AS_STRING(bytes) + i * size, &hash, size);
    }
    return bytes;
}

/* Memory of Python, which lasts as long as anybody has it. */
static PyObject *request_fingerprints(PyObject *self, void *unused)
{
    request *r = (request *)self;
    pra__py_memory *m = r->memory;
    (void)unused;
    if (pra__py_request_enter(r)) {
        return NULL;
    }
    if (!m->fingerprints) {
        PyObject *bytes = fingerprints_bytes(&m->columns);
        Py_XSETREF(m->fingerprints, bytes);
    }
    PyObject *view = m->fingerprints ? PyMemoryView_FromObject(m->fingerprints) : NULL;
    PyObject *column = view ? PyObject_CallMethod(view, "cast", "s", "Q") : NULL;
    Py_XDECREF(view);
    pra__py_request_leave(r);
    return column;
}

/* ---- other attributes */

static PyObject *request_labels(PyObject *self, void *unused)
{
    request *r = (request *)self;
    (void)unused;
    if (pra__py_request_enter(r)) {
        return NULL;
    }
    PyObject *list = pra__py_labels_list(r->memory);
    pra__py_request_leave(r);
    return list;
}

static const int32_t table_numbers[] = {PRA_ARROW_SAMPLES, PRA_ARROW_SERIES, PRA_ARROW_HISTOGRAMS,
                                        PRA_ARROW_EXEMPLARS, PRA_ARROW_METADATA};
#define TABLE(number) ((void *)(uintptr_t)&table_numbers[number])

static PyObject *request_table(PyObject *self, void *number)
{
    request *r = (request *)self;
    if (pra__py_request_enter(r)) {
        return NULL;
    }
    PyObject *table = pra__py_table_new(r, *(const int32_t *)number);
    pra__py_request_leave(r);
    return table;
}

static size_t count_offsets[] = {
    offsetof(pra_columns, series_count), offsetof(pra_columns, sample_count),
    offsetof(pra_columns, histogram_count), offsetof(pra_columns, exemplar_count)};

static size_t count_of(const request *r, int number)
{
    size_t count;
    memcpy(&count, (const char *)&r->memory->columns + count_offsets[number], sizeof count);
    return count;
}

static PyObject *request_count(PyObject *self, void *offset)
{
    const size_t *place = offset;
    return PyLong_FromSize_t(count_of((request *)self, (int)(place - count_offsets)));
}

static PyObject *request_version(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((request *)self)->memory->version);
}

static PyObject *request_repr(PyObject *self)
{
    const request *r = (request *)self;
    return PyUnicode_FromFormat("<%s of remote write %d.0: %zu series, %zu samples>",
                                Py_TYPE(self)->tp_name, (int)r->memory->version, count_of(r, 0),
                                count_of(r, 1));
}

/* ---- methods */

static PyObject *request_copy(PyObject *self, PyObject *unused)
{
    request *r = (request *)self;
    (void)unused;
    if (pra__py_request_enter(r)) {
        return NULL;
    }
    pra__py_memory_keep(r->memory);
    request *copy = request_new((pra__py_memory *)Py_NewRef((PyObject *)r->memory));
    pra__py_request_leave(r);
    return (PyObject *)copy;
}

/* Without the GIL. */
static int encode_block(const pra_write_request *source, int32_t version, pra_buffer *message,
                        pra_buffer *block, pra_error *err)
{
    int code = message && block ? pra_write_request_encode(source, version, message, err)
                                : pra_error_set_cstr(err, PRA_ERR_NOMEM, "no memory to encode in");
    return code
               ? code
               : pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), block, err);
}

static PyObject *encode(const pra_write_request *source, int32_t version)
{
    pra_error err = {0};
    pra_buffer *message = NULL, *block = NULL;
    PyObject *bytes = NULL;
    int code;
    Py_BEGIN_ALLOW_THREADS;
    (void)pra_buffer_new(NULL, &message);
    (void)pra_buffer_new(NULL, &block);
    code = encode_block(source, version, message, block, &err);
    Py_END_ALLOW_THREADS;
    if (code) {
        pra__py_raise(&err);
    } else {
        bytes =
            PyBytes_FromStringAndSize(pra_buffer_data(block), (Py_ssize_t)pra_buffer_len(block));
    }
    pra_buffer_free(message);
    pra_buffer_free(block);
    return bytes;
}

/* As one more owner: so several threads may do it at a time. */
static PyObject *request_encode(PyObject *self, PyObject *args, PyObject *named)
{
    static char *names[] = {"version", NULL};
    request *r = (request *)self;
    PyObject *wanted = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, named, "|O", names, &wanted)) {
        return NULL;
    }
    long version = wanted == Py_None ? r->memory->version : PyLong_AsLong(wanted);
    if ((version == -1 && PyErr_Occurred()) || pra__py_request_enter(r)) {
        return NULL;
    }
    pra_write_request *share = pra_write_request_share(r->memory->request);
    int fits = version >= INT32_MIN && version <= INT32_MAX; /* or else it is none there is */
    PyObject *bytes = encode(share, fits ? (int32_t)version : INT32_MAX);
    pra_write_request_free(share);
    pra__py_request_leave(r);
    return bytes;
}

/* Without the GIL. What is not compressed is compressed first: a handle owns only what it
 * uncompresses, and data would have to be kept for all who will share it. */
static int decode_message(pra_write_request *out, int32_t version, const Py_buffer *data,
                          int compressed, const pra_limits *limits, pra_error *err)
{
    pra_buffer *block = NULL;
    if (compressed) {
        return pra_write_request_decode_snappy(out, version, data->buf, (size_t)data->len, limits,
                                               err);
    }
    int code = pra_buffer_new(NULL, &block);
    if (code) {
        return pra_error_set_cstr(err, code, "no memory to decode in");
    }
    code = pra_snappy_compress(data->buf, (size_t)data->len, block, err);
    if (!code) {
        code = pra_write_request_decode_snappy(out, version, pra_buffer_data(block),
                                               pra_buffer_len(block), limits, err);
    }
    pra_buffer_free(block);
    return code;
}

static PyObject *decode(const Py_buffer *data, int32_t version, int compressed,
                        const pra_limits *limits)
{
    pra_error err = {0};
    pra_write_request *decoded = pra__py_memory_idle();
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = decoded ? PRA_OK : pra_write_request_new(NULL, &decoded);
    code = code ? pra_error_set_cstr(&err, code, "no memory to decode in")
                : decode_message(decoded, version, data, compressed, limits, &err);
    Py_END_ALLOW_THREADS;
    if (code) {
        pra__py_memory_give(decoded);
        pra__py_raise(&err);
        return NULL;
    }
    return (PyObject *)request_new(pra__py_memory_new(decoded, 1));
}

static PyObject *request_decode(PyObject *type, PyObject *args, PyObject *named)
{
    static char *names[] = {"data", "version", "compressed", "limits", NULL};
    Py_buffer data;
    int version = PRA_WRITE_V1, compressed = 1;
    PyObject *mapping = Py_None, *request = NULL;
    pra_limits limits = {.size = sizeof limits};
    (void)type;
    if (!PyArg_ParseTupleAndKeywords(args, named, "y*|i$pO:decode", names, &data, &version,
                                     &compressed, &mapping)) {
        return NULL;
    }
    if (!pra__py_limits(mapping, &limits)) {
        request = decode(&data, version, compressed, &limits);
    }
    PyBuffer_Release(&data);
    return request;
}

/* ---- the type */

#define PRA_COLUMN(name, doc)                                                                      \
    {                                                                                              \
#name, request_column, NULL, doc " No copy.", &name##_field                                \
    }

static PyGetSetDef request_getset[] = {
    {"version", request_version, NULL, "1 or 2: of the remote write protocol.", NULL},
    {"series_count", request_count, NULL, "Number of series, as len().", &count_offsets[0]},
    {"sample_count", request_count, NULL, "Number of samples in all series.", &count_offsets[1]},
    {"histogram_count", request_count, NULL, "Number of native histograms in all series.",
     &count_offsets[2]},
    {"exemplar_count", request_count, NULL, "Number of exemplars in all series.",
     &count_offsets[3]},
    {"samples", request_table, NULL,
     "A Table, a row a sample: series (position in the request), timestamp, value, start_timestamp "
     "(null: not said).",
     TABLE(0)},
    {"series", request_table, NULL,
     "A Table, a row a series: series, fingerprint, name (the metric's), labels (a map).",
     TABLE(1)},
    {"histograms", request_table, NULL,
     "A Table, a row a native histogram: series, timestamp, start_timestamp (null: not said), "
     "schema, reset_hint, is_float, count, zero_count, zero_threshold, sum, positive_spans, "
     "positive_buckets (counts), negative_spans, negative_buckets, custom_values.",
     TABLE(2)},
    {"exemplars", request_table, NULL,
     "A Table, a row an exemplar: series, timestamp, value, labels (a map).", TABLE(3)},
    {"metadata", request_table, NULL,
     "A sequence of Metadata, and a Table: series (null: of a family), family, type, help, unit.",
     TABLE(4)},
    {"labels", request_labels, NULL,
     "The labels of all series: a new list of new dicts. Equal strings are mostly one object.",
     NULL},
    {"timestamps", request_column, NULL,
     "All timestamps: a memoryview of int64, milliseconds. No copy.",
     (void *)(uintptr_t)&pra__py_timestamps},
    {"values", request_column, NULL, "All values: a memoryview of double. No copy.",
     (void *)(uintptr_t)&pra__py_values},
    {"start_timestamps", request_column, NULL,
     "Since when each sample counts: a memoryview of int64, milliseconds; 0 = not said. None if it "
     "is said of no sample. No copy.",
     (void *)(uintptr_t)&pra__py_starts},
    PRA_COLUMN(sample_offsets, "Series i has samples [sample_offsets[i], sample_offsets[i + 1]): a "
                               "memoryview of uint32."),
    PRA_COLUMN(label_offsets, "Series i has labels [label_offsets[i], label_offsets[i + 1]) of "
                              "label_spans: a memoryview of uint32."),
    {"label_spans", request_column, NULL,
     "Where the labels are in data: a memoryview of uint32 of shape (labels, 4), each row the "
     "offset and length of a name, then of its value. No copy.",
     &spans_field},
    PRA_COLUMN(data, "What label_spans point into, UTF-8: a memoryview of bytes."),
    PRA_COLUMN(histogram_offsets, "Series i has histograms [histogram_offsets[i], "
                                  "histogram_offsets[i + 1]): a memoryview of uint32."),
    PRA_COLUMN(exemplar_offsets, "Series i has exemplars [exemplar_offsets[i], exemplar_offsets[i "
                                 "+ 1]): a memoryview of uint32."),
    PRA_COLUMN(exemplar_timestamps, "Of all exemplars: a memoryview of int64, milliseconds."),
    PRA_COLUMN(exemplar_values, "Of all exemplars: a memoryview of double."),
    {"fingerprints", request_fingerprints, NULL,
     "TimeSeries.fingerprint of all series: a memoryview of uint64, which may be kept.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef request_methods[] = {
    {"copy", request_copy, METH_NOARGS,
     "copy($self)\n--\n\n"
     "The same request, to be kept after the call: it takes over the memory, so nothing is copied, "
     "and its columns are not released. Its series cannot be rejected."},
    {"encode", (PyCFunction)(void (*)(void))request_encode, METH_VARARGS | METH_KEYWORDS,
     "encode($self, version=None)\n--\n\n"
     "The body of a remote write request (a snappy block) with this one's series: of the given "
     "version of the protocol, 1 or 2, or that of the request. 1.0 has no start timestamps of "
     "samples. Raises Error. Other threads run meanwhile."},
    {"decode", (PyCFunction)(void (*)(void))request_decode,
     METH_VARARGS | METH_KEYWORDS | METH_CLASS,
     "decode($type, data, version=1, *, compressed=True, limits=None)\n--\n\n"
     "A request to keep, from the body of a remote write request: a snappy block, or (compressed "
     "False) a bare protobuf message. data is bytes or another buffer; limits is a mapping as "
     "servers take it. Series are as they were sent: unsorted labels, say, are not mended. Raises "
     "Error. Other threads run meanwhile."},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods request_sequence = {.sq_length = request_length, .sq_item = request_item};

static PyTypeObject request_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.WriteRequest",
    .tp_doc = "A decoded remote write request: a sequence of TimeSeries.\n\n"
              "It can be used until write returns; copy() gives one to keep. Columns are "
              "memoryviews of the request's own memory, which end with the call; what is made of "
              "them (slices, arrays) keeps that memory.",
    .tp_basicsize = sizeof(request),
    .tp_dealloc = request_dealloc,
    .tp_repr = request_repr,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_as_sequence = &request_sequence,
    .tp_getset = request_getset,
    .tp_methods = request_methods,
};

int pra__py_write_init(PyObject *module)
{
    return pra__py_context_init(module) || pra__py_columns_init(module) ||
                   pra__py_series_init(module) || pra__py_metadata_init(module) ||
                   pra__py_table_init(module) || PyModule_AddType(module, &request_type)
               ? -1
               : 0;
}
