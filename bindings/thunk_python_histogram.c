/* SPDX-License-Identifier: Apache-2.0 */
/* Native histograms: from columns to objects of prom_remote_api.Histogram, which own what they
 * hold, and back. */
#include "thunk_python.h"

#include <string.h>

static PyObject *histogram_class;

enum {
    TIMESTAMP,
    START_TIMESTAMP,
    COUNT,
    SUM,
    SCHEMA,
    ZERO_THRESHOLD,
    ZERO_COUNT,
    RESET_HINT,
    POSITIVE_SPANS,
    POSITIVE_BUCKETS,
    NEGATIVE_SPANS,
    NEGATIVE_BUCKETS,
    CUSTOM_VALUES,
    FIELDS
};

static const char *const field_names[FIELDS] = {
    "timestamp",      "start_timestamp",  "count",          "sum",
    "schema",         "zero_threshold",   "zero_count",     "reset_hint",
    "positive_spans", "positive_buckets", "negative_spans", "negative_buckets",
    "custom_values"};
static PyObject *fields[FIELDS];

static const char *const hint_names[] = {"unknown", "yes", "no", "gauge"};
enum { HINTS = sizeof hint_names / sizeof *hint_names };
static PyObject *hints[HINTS];

/* ---- from columns */

/* Makes a tuple; make gives its element number index, or NULL. */
static PyObject *tuple_of(const void *items, size_t count,
                          PyObject *(*make)(const void *items, size_t index))
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *item = make(items, i);
        if (item) {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, item);
        } else {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static PyObject *span_at(const void *items, size_t index)
{
    const pra_bucket_span *span = (const pra_bucket_span *)items + index;
    return Py_BuildValue("(iI)", (int)span->offset, (unsigned)span->length);
}

static PyObject *double_at(const void *items, size_t index)
{
    return PyFloat_FromDouble(((const double *)items)[index]);
}

static PyObject *spans_tuple(const pra_bucket_span *spans, pra_range range)
{
    return tuple_of(range.count ? spans + range.start : NULL, range.count, span_at);
}

static PyObject *doubles_tuple(const double *items, pra_range range)
{
    return tuple_of(range.count ? items + range.start : NULL, range.count, double_at);
}

/* Counts of integer buckets: each the one before plus its delta, modulo 2^64 as they are taken. */
static PyObject *sums_tuple(const int64_t *deltas, pra_range range)
{
    uint64_t sum = 0;
    PyObject *tuple = PyTuple_New((Py_ssize_t)range.count);
    for (uint32_t i = 0; tuple && i < range.count; i++) {
        sum += (uint64_t)deltas[range.start + i];
        PyObject *item = PyLong_FromUnsignedLongLong(sum);
        if (item) {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, item);
        } else {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static PyObject *count_object(uint64_t bits, int is_float)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return is_float ? PyFloat_FromDouble(number) : PyLong_FromUnsignedLongLong(bits);
}

static PyObject *hint_object(int32_t hint)
{
    return Py_NewRef(hints[hint >= 0 && hint < HINTS ? hint : PRA_COUNTER_RESET_UNKNOWN]);
}

/* A zero count of the other kind than count means nothing [W-47]; buckets likewise. */
static PyObject *zero_object(const pra_histogram *h, int is_float)
{
    const int same = ((h->flags & PRA_HISTOGRAM_ZERO_FLOAT) != 0) == is_float;
    return count_object(same ? h->zero_count_bits : 0, is_float);
}

static PyObject *field_make(const pra_columns *c, const pra_histogram *h, int field)
{
    const int is_float = (h->flags & PRA_HISTOGRAM_FLOAT) != 0;
    switch (field) {
    case TIMESTAMP:
        return PyLong_FromLongLong(h->timestamp_ms);
    case START_TIMESTAMP:
        return PyLong_FromLongLong(h->start_timestamp_ms);
    case COUNT:
        return count_object(h->count_bits, is_float);
    case SUM:
        return PyFloat_FromDouble(h->sum);
    case SCHEMA:
        return PyLong_FromLong(h->schema);
    case ZERO_THRESHOLD:
        return PyFloat_FromDouble(h->zero_threshold);
    case ZERO_COUNT:
        return zero_object(h, is_float);
    case RESET_HINT:
        return hint_object(h->reset_hint);
    case POSITIVE_SPANS:
        return spans_tuple(c->bucket_spans, h->positive_spans);
    case POSITIVE_BUCKETS:
        return is_float ? doubles_tuple(c->positive_counts, h->positive_counts)
                        : sums_tuple(c->positive_deltas, h->positive_deltas);
    case NEGATIVE_SPANS:
        return spans_tuple(c->negative_bucket_spans, h->negative_spans);
    case NEGATIVE_BUCKETS:
        return is_float ? doubles_tuple(c->negative_counts, h->negative_counts)
                        : sums_tuple(c->negative_deltas, h->negative_deltas);
    default:
        return doubles_tuple(c->custom_values, h->custom_values);
    }
}

/* Past the __init__ of the class, which checks what needs no check here. */
static PyObject *histogram_new(const pra_columns *columns, const pra_histogram *h)
{
    PyTypeObject *type = (PyTypeObject *)histogram_class;
    PyObject *object = type->tp_alloc(type, 0);
    for (int i = 0; object && i < FIELDS; i++) {
        PyObject *value = field_make(columns, h, i);
        if (!value || PyObject_GenericSetAttr(object, fields[i], value)) {
            Py_CLEAR(object);
        }
        Py_XDECREF(value);
    }
    return object;
}

PyObject *pra__py_histograms_list(const pra_columns *columns, size_t start, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *item = histogram_new(columns, &columns->histograms[start + i]);
        if (item) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* ---- to columns */

/* Room for count more elements; *out is where the first of them goes. */
static int vector_more(pra__py_vector *v, size_t count, size_t size, void *out)
{
    if (count > UINT32_MAX - v->count) { /* no range could say it */
        PyErr_NoMemory();
        return -1;
    }
    if (v->count + count > v->cap) {
        size_t cap = v->count + count < 2 * v->cap ? 2 * v->cap : v->count + count;
        void *data = PyMem_Realloc(v->data, cap * size);
        if (!data) {
            PyErr_NoMemory();
            return -1;
        }
        v->data = data;
        v->cap = cap;
    }
    void *place = v->data ? (char *)v->data + v->count * size : NULL;
    memcpy(out, &place, sizeof place);
    v->count += count;
    return 0;
}

static int is_tuple(PyObject *object, const char *what)
{
    if (!PyTuple_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s of a histogram must be a tuple, not %.80s", what,
                     Py_TYPE(object)->tp_name);
        return 0;
    }
    return 1;
}

static int out_of_range(const char *what)
{
    if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Format(PyExc_ValueError, "%s of a histogram is out of range", what);
    }
    return -1;
}

static int to_int64(PyObject *object, const char *what, int64_t min, int64_t max, int64_t *out)
{
    long long value = PyLong_AsLongLong(object);
    if ((value == -1 && PyErr_Occurred()) || value < min || value > max) {
        return out_of_range(what);
    }
    *out = value;
    return 0;
}

static int to_double(PyObject *object, double *out)
{
    *out = PyFloat_AsDouble(object);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* A count, as bits of its kind. */
static int to_bits(PyObject *object, int is_float, const char *what, uint64_t *out)
{
    double number;
    if (is_float) {
        int code = to_double(object, &number);
        memcpy(out, &number, sizeof number);
        return code;
    }
    *out = PyLong_AsUnsignedLongLong(object);
    return *out == UINT64_MAX && PyErr_Occurred() ? out_of_range(what) : 0;
}

static int take_spans(PyObject *tuple, pra__py_vector *v, pra_range *range)
{
    pra_bucket_span *spans;
    if (!is_tuple(tuple, "spans")) {
        return -1;
    }
    size_t count = (size_t)PyTuple_GET_SIZE(tuple);
    *range = (pra_range){(uint32_t)v->count, (uint32_t)count};
    if (vector_more(v, count, sizeof *spans, &spans)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t offset, length;
        PyObject *pair = PyTuple_GET_ITEM(tuple, (Py_ssize_t)i);
        if (!is_tuple(pair, "a span") || PyTuple_GET_SIZE(pair) != 2 ||
            to_int64(PyTuple_GET_ITEM(pair, 0), "a span", INT32_MIN, INT32_MAX, &offset) ||
            to_int64(PyTuple_GET_ITEM(pair, 1), "a span", 0, UINT32_MAX, &length)) {
            return PyErr_Occurred() ? -1 : out_of_range("a span");
        }
        spans[i] = (pra_bucket_span){(int32_t)offset, (uint32_t)length};
    }
    return 0;
}

static int take_doubles(PyObject *tuple, pra__py_vector *v, pra_range *range)
{
    double *items;
    if (!is_tuple(tuple, "buckets and custom_values")) {
        return -1;
    }
    size_t count = (size_t)PyTuple_GET_SIZE(tuple);
    *range = (pra_range){(uint32_t)v->count, (uint32_t)count};
    int code = vector_more(v, count, sizeof *items, &items);
    for (size_t i = 0; !code && i < count; i++) {
        code = to_double(PyTuple_GET_ITEM(tuple, (Py_ssize_t)i), &items[i]);
    }
    return code;
}

/* Deltas of integer counts, modulo 2^64 as they are summed. */
static int take_integers(PyObject *tuple, pra__py_vector *v, pra_range *range)
{
    int64_t *deltas;
    uint64_t before = 0, now;
    if (!is_tuple(tuple, "buckets")) {
        return -1;
    }
    size_t count = (size_t)PyTuple_GET_SIZE(tuple);
    *range = (pra_range){(uint32_t)v->count, (uint32_t)count};
    int code = vector_more(v, count, sizeof *deltas, &deltas);
    for (size_t i = 0; !code && i < count; i++) {
        code = to_bits(PyTuple_GET_ITEM(tuple, (Py_ssize_t)i), 0, "a bucket", &now);
        deltas[i] = (int64_t)(now - before);
        before = now;
    }
    return code;
}

static int take_hint(PyObject *text, int32_t *out)
{
    for (int i = 0; i < HINTS; i++) {
        if (PyUnicode_Check(text) && PyUnicode_Compare(text, hints[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "reset_hint of a histogram cannot be %R", text);
    return -1;
}

static int take_numbers(PyObject *const *values, pra_histogram *h)
{
    const int is_float = PyFloat_Check(values[COUNT]);
    int64_t schema;
    h->flags = is_float ? PRA_HISTOGRAM_FLOAT | PRA_HISTOGRAM_ZERO_FLOAT : 0;
    if (to_int64(values[TIMESTAMP], "timestamp", INT64_MIN, INT64_MAX, &h->timestamp_ms) ||
        to_int64(values[START_TIMESTAMP], "start_timestamp", INT64_MIN, INT64_MAX,
                 &h->start_timestamp_ms) ||
        to_int64(values[SCHEMA], "schema", INT32_MIN, INT32_MAX, &schema) ||
        to_bits(values[COUNT], is_float, "count", &h->count_bits) ||
        to_bits(values[ZERO_COUNT], is_float, "zero_count", &h->zero_count_bits) ||
        to_double(values[SUM], &h->sum) || to_double(values[ZERO_THRESHOLD], &h->zero_threshold)) {
        return -1;
    }
    h->schema = (int32_t)schema;
    return take_hint(values[RESET_HINT], &h->reset_hint);
}

static int take_buckets(PyObject *const *values, pra__py_histograms *all, pra_histogram *h)
{
    if (take_spans(values[POSITIVE_SPANS], &all->positive_spans, &h->positive_spans) ||
        take_spans(values[NEGATIVE_SPANS], &all->negative_spans, &h->negative_spans) ||
        take_doubles(values[CUSTOM_VALUES], &all->custom_values, &h->custom_values)) {
        return -1;
    }
    if (h->flags & PRA_HISTOGRAM_FLOAT) {
        return take_doubles(values[POSITIVE_BUCKETS], &all->positive_counts, &h->positive_counts) ||
               take_doubles(values[NEGATIVE_BUCKETS], &all->negative_counts, &h->negative_counts);
    }
    return take_integers(values[POSITIVE_BUCKETS], &all->positive_deltas, &h->positive_deltas) ||
           take_integers(values[NEGATIVE_BUCKETS], &all->negative_deltas, &h->negative_deltas);
}

int pra__py_is_histogram(PyObject *object)
{
    return (PyObject *)Py_TYPE(object) == histogram_class ||
           PyObject_TypeCheck(object, (PyTypeObject *)histogram_class);
}

int pra__py_histograms_push(pra__py_histograms *all, PyObject *object)
{
    PyObject *values[FIELDS] = {NULL};
    pra_histogram h = {0}, *place;
    if (!pra__py_is_histogram(object)) {
        PyErr_Format(PyExc_TypeError, "expected Histogram, not %.80s", Py_TYPE(object)->tp_name);
        return -1;
    }
    int code = 0;
    for (int i = 0; !code && i < FIELDS; i++) {
        values[i] = PyObject_GetAttr(object, fields[i]);
        code = values[i] ? 0 : -1;
    }
    if (code || take_numbers(values, &h) || take_buckets(values, all, &h) ||
        vector_more(&all->histograms, 1, sizeof h, &place)) {
        code = -1;
    } else {
        *place = h;
    }
    for (int i = 0; i < FIELDS; i++) {
        Py_XDECREF(values[i]);
    }
    return code;
}

void pra__py_histograms_columns(const pra__py_histograms *all, pra_columns *out)
{
    *out = (pra_columns){.size = sizeof *out,
                         .histograms = all->histograms.data,
                         .histogram_count = all->histograms.count,
                         .bucket_spans = all->positive_spans.data,
                         .bucket_span_count = all->positive_spans.count,
                         .negative_bucket_spans = all->negative_spans.data,
                         .negative_bucket_span_count = all->negative_spans.count,
                         .positive_deltas = all->positive_deltas.data,
                         .positive_delta_count = all->positive_deltas.count,
                         .negative_deltas = all->negative_deltas.data,
                         .negative_delta_count = all->negative_deltas.count,
                         .positive_counts = all->positive_counts.data,
                         .positive_count_count = all->positive_counts.count,
                         .negative_counts = all->negative_counts.data,
                         .negative_count_count = all->negative_counts.count,
                         .custom_values = all->custom_values.data,
                         .custom_value_count = all->custom_values.count};
}

enum { VECTORS = sizeof(pra__py_histograms) / sizeof(pra__py_vector) };

void pra__py_histograms_clear(pra__py_histograms *all)
{
    for (int i = 0; i < VECTORS; i++) {
        ((pra__py_vector *)all)[i].count = 0;
    }
}

void pra__py_histograms_fini(pra__py_histograms *all)
{
    for (int i = 0; i < VECTORS; i++) {
        PyMem_Free(((pra__py_vector *)all)[i].data);
    }
}

/* ---- functions of the module */

static PyObject *encode_columns(const pra_columns *columns)
{
    pra_buffer *buffer = NULL;
    pra_error err = {0};
    PyObject *result = NULL;
    int code = pra_buffer_new(NULL, &buffer);
    if (code == PRA_OK) {
        code = pra_histogram_encode(columns, 0, buffer);
    }
    if (code == PRA_OK) {
        result =
            PyBytes_FromStringAndSize(pra_buffer_data(buffer), (Py_ssize_t)pra_buffer_len(buffer));
    } else {
        result = pra__py_raise_code(code, &err);
    }
    pra_buffer_free(buffer);
    return result;
}

static PyObject *module_encode(PyObject *module, PyObject *object)
{
    pra__py_histograms all = {0};
    pra_columns columns;
    PyObject *result = NULL;
    (void)module;
    if (pra__py_histograms_push(&all, object) == 0) {
        pra__py_histograms_columns(&all, &columns);
        result = encode_columns(&columns);
    }
    pra__py_histograms_fini(&all);
    return result;
}

static PyObject *decode_bytes(pra_write_request *request, const Py_buffer *data)
{
    pra_error err = {0};
    pra_columns columns = {.size = sizeof columns};
    int code = pra_write_request_add_series(request, NULL, 0);
    if (code == PRA_OK) {
        code = pra_write_request_add_histogram_encoded(request, data->buf, (size_t)data->len, &err);
    }
    if (code == PRA_OK) {
        code = pra_write_request_columns(request, &columns);
    }
    return code == PRA_OK ? histogram_new(&columns, columns.histograms)
                          : pra__py_raise_code(code, &err);
}

static PyObject *module_decode(PyObject *module, PyObject *object)
{
    Py_buffer data;
    pra_write_request *request = NULL;
    pra_error err = {0};
    (void)module;
    if (PyObject_GetBuffer(object, &data, PyBUF_SIMPLE)) {
        return NULL;
    }
    int code = pra_write_request_new(NULL, &request);
    PyObject *result =
        code == PRA_OK ? decode_bytes(request, &data) : pra__py_raise_code(code, &err);
    pra_write_request_free(request);
    PyBuffer_Release(&data);
    return result;
}

static PyObject *module_bound(PyObject *module, PyObject *args)
{
    int schema, index;
    (void)module;
    if (!PyArg_ParseTuple(args, "ii", &schema, &index)) {
        return NULL;
    }
    return PyFloat_FromDouble(pra_histogram_bound(schema, index));
}

/* The class whose objects are made here; from the package, once. */
static PyObject *module_register(PyObject *module, PyObject *object)
{
    (void)module;
    if (!PyType_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "expected a class");
        return NULL;
    }
    Py_XSETREF(histogram_class, Py_NewRef(object));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"histogram_encode", module_encode, METH_O, NULL},
    {"histogram_decode", module_decode, METH_O, NULL},
    {"histogram_bound", module_bound, METH_VARARGS, NULL},
    {"histogram_register", module_register, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int intern_all(PyObject **out, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (!out[i] && !(out[i] = PyUnicode_InternFromString(names[i]))) {
            return -1;
        }
    }
    return 0;
}

int pra__py_histogram_init(PyObject *module)
{
    return intern_all(fields, field_names, FIELDS) || intern_all(hints, hint_names, HINTS)
               ? -1
               : PyModule_AddFunctions(module, functions);
}
