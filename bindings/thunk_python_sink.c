/* SPDX-License-Identifier: Apache-2.0 */
/* Takes what a storage's process_query gives: series as (labels, samples) or (labels, timestamps,
 * values[, histograms]). */
#include "thunk_python.h"

#include <assert.h>
#include <string.h>

typedef struct sink {
    PyObject_HEAD pra__py_scope *scope;
    pra_series_sink *sink;
} sink;

/* Numbers of one series: borrowed from a buffer, or converted into memory of ours. */
typedef struct column {
    const void *data;
    size_t count;
    void *memory;
    size_t cap;
    Py_buffer buffer; /* obj NULL: none */
} column;

/* What is kept from one series to the next. */
typedef struct filler {
    pra_series_sink *sink;
    pra__py_labels labels;
    column timestamps;
    column values;
    pra__py_histograms histograms;
} filler;

enum { ELEMENT_BYTES = 8 };
static_assert(sizeof(double) == ELEMENT_BYTES && sizeof(int64_t) == ELEMENT_BYTES, "columns");

static void column_clear(column *c)
{
    if (c->buffer.obj) {
        PyBuffer_Release(&c->buffer);
    }
    c->data = NULL;
    c->count = 0;
}

static int column_reserve(column *c, size_t count)
{
    if (count <= c->cap) {
        return 0;
    }
    size_t cap = count < 2 * c->cap ? 2 * c->cap : count;
    void *memory = PyMem_Realloc(c->memory, cap * ELEMENT_BYTES);
    if (!memory) {
        PyErr_NoMemory();
        return -1;
    }
    c->memory = memory;
    c->cap = cap;
    return 0;
}

static int push_timestamp(column *c, PyObject *object)
{
    long long value = PyLong_AsLongLong(object);
    if ((value == -1 && PyErr_Occurred()) || column_reserve(c, c->count + 1)) {
        return -1;
    }
    ((int64_t *)c->memory)[c->count++] = value;
    return 0;
}

static int push_value(column *c, PyObject *object)
{
    double value = PyFloat_AsDouble(object);
    if ((value == -1.0 && PyErr_Occurred()) || column_reserve(c, c->count + 1)) {
        return -1;
    }
    ((double *)c->memory)[c->count++] = value;
    return 0;
}

/* ---- (labels, timestamps, values[, histograms]) */

static int is_format(const char *format, const char *wanted)
{
    if (!format) {
        return 0;
    }
#if PY_LITTLE_ENDIAN
    format += *format == '<' || *format == '=' || *format == '@';
#else
    format += *format == '>' || *format == '=' || *format == '@';
#endif
    return *format && strchr(wanted, *format) && !format[1];
}

/* Returns 1 if object is a buffer of such elements, which c now borrows; else 0. */
static int column_borrow(column *c, PyObject *object, const char *formats)
{
    if (!PyObject_CheckBuffer(object)) {
        return 0;
    }
    if (PyObject_GetBuffer(object, &c->buffer, PyBUF_FORMAT | PyBUF_ND)) {
        PyErr_Clear();
        return 0;
    }
    if (c->buffer.itemsize != ELEMENT_BYTES || !is_format(c->buffer.format, formats) ||
        (uintptr_t)c->buffer.buf % ELEMENT_BYTES != 0) {
        PyBuffer_Release(&c->buffer);
        return 0;
    }
    c->data = c->buffer.buf;
    c->count = (size_t)c->buffer.len / ELEMENT_BYTES;
    return 1;
}

static int column_fill(column *c, PyObject *object, const char *formats,
                       int (*push)(column *c, PyObject *object))
{
    column_clear(c);
    if (column_borrow(c, object, formats)) {
        return 0;
    }
    PyObject *iterator = PyObject_GetIter(object);
    PyObject *item;
    int code = iterator ? 0 : -1;
    while (!code && (item = PyIter_Next(iterator))) {
        code = push(c, item);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    c->data = c->memory;
    return code || PyErr_Occurred() ? -1 : 0;
}

static int fill_histograms(filler *f, PyObject *histograms)
{
    PyObject *iterator = PyObject_GetIter(histograms);
    PyObject *item;
    int code = iterator ? 0 : -1;
    while (!code && (item = PyIter_Next(iterator))) {
        code = pra__py_histograms_push(&f->histograms, item);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    return code || PyErr_Occurred() ? -1 : 0;
}

static int fill_columns(filler *f, PyObject *timestamps, PyObject *values)
{
    if (column_fill(&f->timestamps, timestamps, "ql", push_timestamp) ||
        column_fill(&f->values, values, "d", push_value)) {
        return -1;
    }
    if (f->timestamps.count != f->values.count) {
        PyErr_Format(PyExc_ValueError, "%zu timestamps, but %zu values", f->timestamps.count,
                     f->values.count);
        return -1;
    }
    return 0;
}

/* ---- (labels, samples) */

/* A pair, or a histogram among the samples. */
static int push_sample(filler *f, PyObject *sample)
{
    static const char wanted[] = "a sample must be a pair (timestamp_ms, value) or a Histogram";
    if (!PyTuple_CheckExact(sample) && pra__py_is_histogram(sample)) {
        return pra__py_histograms_push(&f->histograms, sample);
    }
    PyObject *fast = PySequence_Fast(sample, wanted);
    int code = -1;
    if (fast && PySequence_Fast_GET_SIZE(fast) != 2) {
        PyErr_SetString(PyExc_TypeError, wanted);
    } else if (fast) {
        PyObject *timestamp = Py_NewRef(PySequence_Fast_GET_ITEM(fast, 0));
        PyObject *value = Py_NewRef(PySequence_Fast_GET_ITEM(fast, 1));
        code = push_timestamp(&f->timestamps, timestamp) || push_value(&f->values, value) ? -1 : 0;
        Py_DECREF(timestamp);
        Py_DECREF(value);
    }
    Py_XDECREF(fast);
    return code;
}

static int fill_samples(filler *f, PyObject *samples)
{
    column_clear(&f->timestamps);
    column_clear(&f->values);
    PyObject *iterator = PyObject_GetIter(samples);
    PyObject *sample;
    int code = iterator ? 0 : -1;
    while (!code && (sample = PyIter_Next(iterator))) {
        code = push_sample(f, sample);
        Py_DECREF(sample);
    }
    Py_XDECREF(iterator);
    f->timestamps.data = f->timestamps.memory;
    f->values.data = f->values.memory;
    return code || PyErr_Occurred() ? -1 : 0;
}

/* ---- a series */

static int add_failed(int code, const pra_error *err)
{
    if (code == PRA_ERR_LABELS ||
        code == PRA_ERR_HISTOGRAM) { /* a mistake of the storage: its exception, its traceback */
        PyErr_SetString(PyExc_ValueError, err->message);
    } else if (code == PRA_ERR_NOMEM) {
        PyErr_NoMemory();
    } else {
        PyObject *args =
            Py_BuildValue("(is)", code, err->message[0] ? err->message : pra_strerror(code));
        if (args) {
            PyErr_SetObject(pra__py_sink_error, args);
        }
        Py_XDECREF(args);
    }
    return -1;
}

static int add_with_histograms(filler *f, pra_error *err)
{
    pra_columns columns;
    pra__py_histograms_columns(&f->histograms, &columns);
    int code = pra_series_sink_begin(f->sink, f->labels.items, f->labels.count, err);
    if (code == PRA_OK) {
        code = pra_series_sink_samples(f->sink, f->timestamps.data, f->values.data,
                                       f->timestamps.count, err);
    }
    if (code == PRA_OK) {
        code = pra_series_sink_histograms(f->sink, &columns, 0, columns.histogram_count, err);
    }
    return code == PRA_OK ? pra_series_sink_end(f->sink, err) : code;
}

static int add_filled(filler *f)
{
    pra_error err = {0};
    int code =
        f->histograms.histograms.count
            ? add_with_histograms(f, &err)
            : pra_series_sink_add(f->sink, f->labels.items, f->labels.count, f->timestamps.data,
                                  f->values.data, f->timestamps.count, &err);
    return code ? add_failed(code, &err) : 0;
}

/* Labels come last: turning samples into columns may run code that changes them. */
static int add_series(filler *f, PyObject *labels, PyObject *first, PyObject *second,
                      PyObject *histograms)
{
    if ((second ? fill_columns(f, first, second) : fill_samples(f, first)) ||
        (histograms && fill_histograms(f, histograms)) || pra__py_labels_set(&f->labels, labels)) {
        return -1;
    }
    return add_filled(f);
}

static int add_item(filler *f, PyObject *item)
{
    PyObject *labels, *first, *second = NULL, *histograms = NULL;
    if (!PyTuple_Check(item) ||
        !PyArg_ParseTuple(item, "OO|OO", &labels, &first, &second, &histograms)) {
        PyErr_Format(PyExc_TypeError,
                     "a series must be (labels, samples) or (labels, timestamps, values"
                     "[, histograms]), not %.80s",
                     Py_TYPE(item)->tp_name);
        return -1;
    }
    return add_series(f, labels, first, second, histograms);
}

static int add_all(filler *f, PyObject *iterable)
{
    PyObject *iterator = PyObject_GetIter(iterable);
    PyObject *item;
    int code = iterator ? 0 : -1;
    while (!code && (item = PyIter_Next(iterator))) {
        code = add_item(f, item);
        column_clear(&f->timestamps);
        column_clear(&f->values);
        pra__py_histograms_clear(&f->histograms);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    return code || PyErr_Occurred() ? -1 : 0;
}

static PyObject *sink_extend(PyObject *self, PyObject *iterable)
{
    const sink *s = (sink *)self;
    filler f = {.sink = s->sink};
    if (pra__py_scope_enter(s->scope)) {
        return NULL;
    }
    int code = add_all(&f, iterable);
    pra__py_scope_leave(s->scope);
    pra__py_labels_fini(&f.labels);
    pra__py_histograms_fini(&f.histograms);
    PyMem_Free(f.timestamps.memory);
    PyMem_Free(f.values.memory);
    if (code) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static void sink_dealloc(PyObject *self)
{
    Py_DECREF(((sink *)self)->scope);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef sink_methods[] = {
    {"extend", sink_extend, METH_O, "Adds every series of an iterable."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject sink_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api._pra.Sink",
    .tp_doc = "Where the series that answer one query go.",
    .tp_basicsize = sizeof(sink),
    .tp_dealloc = sink_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_methods = sink_methods,
};

PyObject *pra__py_sink_new(pra__py_scope *scope, pra_series_sink *target)
{
    sink *s = PyObject_New(sink, &sink_type);
    if (s) {
        s->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
        s->sink = target;
    }
    return (PyObject *)s;
}

int pra__py_sink_init(PyObject *module)
{
    return PyModule_AddType(module, &sink_type);
}
