/* SPDX-License-Identifier: Apache-2.0 */
/* The objects a storage's write is given: Context, WriteRequest and its TimeSeries. */
#include "thunk_python.h"

#include <string.h>

/* ---- Context */

typedef struct context {
    PyObject_HEAD pra__py_scope *scope;
    const pra_context *ctx;
} context;

typedef struct text_getter {
    void (*fn)(const pra_context *ctx, pra_str *out);
} text_getter;

static text_getter tenant_getter = {pra_context_tenant};
static text_getter path_getter = {pra_context_path};
static text_getter query_string_getter = {pra_context_query_string};
static text_getter remote_addr_getter = {pra_context_remote_addr};
static text_getter user_getter = {pra_context_user};

static PyObject *context_text(PyObject *self, void *getter)
{
    const context *c = (context *)self;
    pra_str text;
    if (pra__py_scope_enter(c->scope)) {
        return NULL;
    }
    ((const text_getter *)getter)->fn(c->ctx, &text);
    PyObject *result = pra__py_str(text);
    pra__py_scope_leave(c->scope);
    return result;
}

static PyObject *context_worker(PyObject *self, void *unused)
{
    const context *c = (context *)self;
    (void)unused;
    if (pra__py_scope_enter(c->scope)) {
        return NULL;
    }
    PyObject *result = PyLong_FromUnsignedLong(pra_context_worker(c->ctx));
    pra__py_scope_leave(c->scope);
    return result;
}

/* A name that comes twice gets its values joined, as HTTP allows. */
static int headers_add(PyObject *headers, const pra_header *header)
{
    PyObject *raw = pra__py_str(header->name);
    PyObject *name = raw ? PyObject_CallMethod(raw, "lower", NULL) : NULL;
    PyObject *value = name ? pra__py_str(header->value) : NULL;
    PyObject *before = value ? PyDict_GetItemWithError(headers, name) : NULL;
    if (before) {
        Py_SETREF(value, PyUnicode_FromFormat("%U, %U", before, value));
    }
    int code = value && !PyErr_Occurred() ? PyDict_SetItem(headers, name, value) : -1;
    Py_XDECREF(raw);
    Py_XDECREF(name);
    Py_XDECREF(value);
    return code;
}

static PyObject *context_headers(PyObject *self, void *unused)
{
    const context *c = (context *)self;
    const pra_header *items;
    (void)unused;
    if (pra__py_scope_enter(c->scope)) {
        return NULL;
    }
    PyObject *headers = PyDict_New();
    size_t count = pra_context_headers(c->ctx, &items);
    for (size_t i = 0; headers && i < count; i++) {
        if (headers_add(headers, &items[i])) {
            Py_CLEAR(headers);
        }
    }
    pra__py_scope_leave(c->scope);
    return headers;
}

static void context_dealloc(PyObject *self)
{
    Py_XDECREF(((context *)self)->scope);
    Py_TYPE(self)->tp_free(self);
}

static PyGetSetDef context_getset[] = {
    {"tenant", context_text, NULL, "Value of the tenant header, or ''.", &tenant_getter},
    {"path", context_text, NULL, "Path of the request.", &path_getter},
    {"query_string", context_text, NULL, "What follows the '?'.", &query_string_getter},
    {"remote_addr", context_text, NULL, "Address of the sender, or ''.", &remote_addr_getter},
    {"user", context_text, NULL, "Authenticated user, or ''.", &user_getter},
    {"headers", context_headers, NULL, "A dict of all headers, names in lower case.", NULL},
    {"worker", context_worker, NULL,
     "Number of the worker that serves the request, below Server's workers: one request at a time "
     "has it, so that it can choose a database connection, say.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject context_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.Context",
    .tp_doc = "What a storage may know about the HTTP request.",
    .tp_basicsize = sizeof(context),
    .tp_dealloc = context_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_getset = context_getset,
};

PyObject *pra__py_context_new(pra__py_scope *scope, const pra_context *ctx)
{
    context *c = PyObject_New(context, &context_type);
    if (c) {
        c->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
        c->ctx = ctx;
    }
    return (PyObject *)c;
}

/* ---- TimeSeries */

typedef struct request {
    PyObject_HEAD pra__py_scope *scope;
    pra_write_result *result;
    int32_t version;
    pra_columns columns;
} request;

typedef struct series {
    PyObject_HEAD request *request;
    size_t index;
    PyObject *labels;  /* made when first asked for */
    PyObject *samples; /* likewise */
} series;

static PyObject *span_text(const char *base, pra_span span)
{
    return pra__py_text(base + span.off, span.len);
}

static PyObject *labels_dict(const char *base, const pra_label_span *labels, size_t count)
{
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < count; i++) {
        PyObject *name = span_text(base, labels[i].name);
        PyObject *value = name ? span_text(base, labels[i].value) : NULL;
        if (!value || PyDict_SetItem(dict, name, value)) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *sample_tuple(int64_t timestamp_ms, const double *value)
{
    PyObject *pair = PyTuple_New(2);
    PyObject *first = pair ? PyLong_FromLongLong(timestamp_ms) : NULL;
    PyObject *second = first ? PyFloat_FromDouble(*value) : NULL;
    if (!second) {
        Py_XDECREF(first);
        Py_XDECREF(pair);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, first);
    PyTuple_SET_ITEM(pair, 1, second);
    PyObject_GC_UnTrack(pair); /* as the collector would: it can be in no cycle */
    return pair;
}

static PyObject *samples_list(const int64_t *timestamps_ms, const double *values, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *pair = sample_tuple(timestamps_ms[i], &values[i]);
        if (pair) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, pair);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* A copy of count elements (NULL: zeros) as a memoryview: it may be kept, which a view of C memory
 * may not. */
static PyObject *column_copy(const void *data, size_t count, size_t size, const char *format)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * size));
    if (bytes && count && data) {
        memcpy(PyBytes_AS_STRING(bytes), data, count * size);
    } else if (bytes) {
        memset(PyBytes_AS_STRING(bytes), 0, count * size);
    }
    PyObject *view = bytes ? PyMemoryView_FromObject(bytes) : NULL;
    PyObject *column = view ? PyObject_CallMethod(view, "cast", "s", format) : NULL;
    Py_XDECREF(view);
    Py_XDECREF(bytes);
    return column;
}

static PyStructSequence_Field exemplar_fields[] = {
    {"labels", "A dict of label names and values: trace_id, say."},
    {"value", "What was observed."},
    {"timestamp", "When, in milliseconds."},
    {NULL, NULL},
};
static PyStructSequence_Desc exemplar_desc = {"prom_remote_api.Exemplar",
                                              "One observation among those that made a series.",
                                              exemplar_fields, 3};
static PyTypeObject *exemplar_type;

static PyObject *exemplar_entry(const pra_columns *c, size_t index)
{
    uint32_t first = c->exemplar_label_offsets[index];
    PyObject *entry = PyStructSequence_New(exemplar_type);
    if (!entry) {
        return NULL;
    }
    PyStructSequence_SetItem(entry, 0,
                             labels_dict(c->base, c->exemplar_labels + first,
                                         c->exemplar_label_offsets[index + 1] - first));
    PyStructSequence_SetItem(entry, 1, PyFloat_FromDouble(c->exemplar_values[index]));
    PyStructSequence_SetItem(entry, 2, PyLong_FromLongLong(c->exemplar_timestamps_ms[index]));
    if (PyErr_Occurred()) {
        Py_CLEAR(entry);
    }
    return entry;
}

static PyObject *exemplars_list(const pra_columns *c, size_t start, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *entry = exemplar_entry(c, start + i);
        if (entry) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, entry);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

enum {
    SERIES_LABELS,
    SERIES_SAMPLES,
    SERIES_TIMESTAMPS,
    SERIES_VALUES,
    SERIES_STARTS,
    SERIES_HISTOGRAMS,
    SERIES_EXEMPLARS
};
static int series_parts[] = {SERIES_LABELS, SERIES_SAMPLES,    SERIES_TIMESTAMPS, SERIES_VALUES,
                             SERIES_STARTS, SERIES_HISTOGRAMS, SERIES_EXEMPLARS};

static PyObject *cached(PyObject **place, PyObject *made)
{
    if (*place) {
        Py_XDECREF(made); /* another thread was faster */
    } else {
        *place = made;
    }
    return Py_XNewRef(*place);
}

static PyObject *series_make(series *s, int part)
{
    const pra_columns *c = &s->request->columns;
    uint32_t label = c->label_offsets[s->index];
    uint32_t first = c->sample_offsets[s->index];
    size_t count = c->sample_offsets[s->index + 1] - first;
    const int64_t *timestamps_ms = count ? c->timestamps_ms + first : NULL;
    const double *values = count ? c->values + first : NULL;
    switch (part) {
    case SERIES_LABELS:
        return cached(&s->labels, s->labels ? NULL
                                            : labels_dict(c->base, c->labels + label,
                                                          c->label_offsets[s->index + 1] - label));
    case SERIES_SAMPLES:
        return cached(&s->samples, s->samples ? NULL : samples_list(timestamps_ms, values, count));
    case SERIES_TIMESTAMPS:
        return column_copy(timestamps_ms, count, sizeof *timestamps_ms, "q");
    case SERIES_VALUES:
        return column_copy(values, count, sizeof *values, "d");
    case SERIES_STARTS:
        return column_copy(count && c->start_timestamps_ms ? c->start_timestamps_ms + first : NULL,
                           count, sizeof *timestamps_ms, "q");
    case SERIES_HISTOGRAMS:
        first = c->histogram_offsets[s->index];
        return pra__py_histograms_list(c, first, c->histogram_offsets[s->index + 1] - first);
    default:
        first = c->exemplar_offsets[s->index];
        return exemplars_list(c, first, c->exemplar_offsets[s->index + 1] - first);
    }
}

static PyObject *series_get(PyObject *self, void *part)
{
    series *s = (series *)self;
    if (pra__py_scope_enter(s->request->scope)) {
        return NULL;
    }
    PyObject *result = series_make(s, *(const int *)part);
    pra__py_scope_leave(s->request->scope);
    return result;
}

/* PRA_DATUM_... by its name; -1 with an exception. */
static int kind_of(const char *name)
{
    static const char *const names[] = {"sample", "histogram", "exemplar", "metadata", "series"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return i;
        }
    }
    PyErr_Format(PyExc_ValueError, "a series has no data of kind '%s'", name);
    return -1;
}

static PyObject *series_reject(PyObject *self, PyObject *args, PyObject *named)
{
    static char *names[] = {"reason", "kind", "count", NULL};
    const series *s = (series *)self;
    const char *kind_name = "series";
    PyObject *reason;
    pra_str text;
    Py_ssize_t count = 1;
    if (!PyArg_ParseTupleAndKeywords(args, named, "O|sn", names, &reason, &kind_name, &count) ||
        pra__py_utf8(reason, &text)) {
        return NULL;
    }
    int kind = kind_of(kind_name);
    if (kind >= 0 && count < 0) {
        PyErr_SetString(PyExc_ValueError, "count is negative");
    }
    if (kind < 0 || count < 0 || pra__py_scope_enter(s->request->scope)) {
        return NULL;
    }
    pra_write_result_reject(s->request->result, kind, s->index, (size_t)count, text);
    pra__py_scope_leave(s->request->scope);
    Py_RETURN_NONE;
}

static void series_dealloc(PyObject *self)
{
    series *s = (series *)self;
    Py_XDECREF(s->labels);
    Py_XDECREF(s->samples);
    Py_DECREF(s->request);
    Py_TYPE(self)->tp_free(self);
}

static PyGetSetDef series_getset[] = {
    {"labels", series_get, NULL, "A dict of label names and values.", &series_parts[SERIES_LABELS]},
    {"samples", series_get, NULL, "A list of (timestamp_ms, value).",
     &series_parts[SERIES_SAMPLES]},
    {"timestamps", series_get, NULL, "A memoryview of int64: milliseconds.",
     &series_parts[SERIES_TIMESTAMPS]},
    {"values", series_get, NULL, "A memoryview of double.", &series_parts[SERIES_VALUES]},
    {"start_timestamps", series_get, NULL,
     "Since when each sample counts: a memoryview of int64, milliseconds; 0 = not said.",
     &series_parts[SERIES_STARTS]},
    {"histograms", series_get, NULL, "A new list of Histogram.", &series_parts[SERIES_HISTOGRAMS]},
    {"exemplars", series_get, NULL, "A new list of Exemplar.", &series_parts[SERIES_EXEMPLARS]},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef series_methods[] = {
    {"reject", (PyCFunction)(void (*)(void))series_reject, METH_VARARGS | METH_KEYWORDS,
     "reject($self, reason, kind='series', count=1)\n--\n\n"
     "Says that this series, or count of its data of a kind ('sample', 'histogram', 'exemplar'), "
     "was refused for good, while the rest of the request is stored: the sender is answered 400 "
     "with the reason, and does not send them again."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject series_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.TimeSeries",
    .tp_doc = "One series of a WriteRequest.",
    .tp_basicsize = sizeof(series),
    .tp_dealloc = series_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_getset = series_getset,
    .tp_methods = series_methods,
};

/* ---- WriteRequest */

static Py_ssize_t request_length(PyObject *self)
{
    return (Py_ssize_t)((request *)self)->columns.series_count;
}

static PyObject *request_item(PyObject *self, Py_ssize_t index)
{
    request *r = (request *)self;
    if (index < 0 || index >= request_length(self)) {
        PyErr_SetString(PyExc_IndexError, "no such series");
        return NULL;
    }
    if (pra__py_scope_enter(r->scope)) {
        return NULL;
    }
    series *s = PyObject_New(series, &series_type);
    if (s) {
        s->request = (request *)Py_NewRef(self);
        s->index = (size_t)index;
        s->labels = NULL;
        s->samples = NULL;
    }
    pra__py_scope_leave(r->scope);
    return (PyObject *)s;
}

static PyStructSequence_Field metadata_fields[] = {
    {"type", "'counter', 'gauge', 'histogram', …, or 'unknown'."},
    {"family", "Name of the metric family; '' in remote write 2.0, which describes series."},
    {"help", "What it means."},
    {"unit", "Unit, or ''."},
    {"series", "Index of the series described (2.0), or None."},
    {NULL, NULL},
};
static PyStructSequence_Desc metadata_desc = {"prom_remote_api.Metadata",
                                              "What a sender says about a metric family.",
                                              metadata_fields, 4}; /* series is an attribute only */
static PyTypeObject *metadata_type;

static PyObject *metadata_series(const pra_metadata *metadata)
{
    return metadata->series == UINT32_MAX ? Py_NewRef(Py_None)
                                          : PyLong_FromUnsignedLong(metadata->series);
}

static PyObject *metadata_entry(const char *base, const pra_metadata *metadata)
{
    static const char *const types[] = {"unknown",        "counter", "gauge", "histogram",
                                        "gaugehistogram", "summary", "info",  "stateset"};
    size_t type = (size_t)metadata->type;
    PyObject *entry = PyStructSequence_New(metadata_type);
    if (!entry) {
        return NULL;
    }
    type = type < sizeof types / sizeof *types ? type : 0;
    PyStructSequence_SetItem(entry, 0, PyUnicode_FromString(types[type]));
    PyStructSequence_SetItem(entry, 1, span_text(base, metadata->family));
    PyStructSequence_SetItem(entry, 2, span_text(base, metadata->help));
    PyStructSequence_SetItem(entry, 3, span_text(base, metadata->unit));
    PyStructSequence_SetItem(entry, 4, metadata_series(metadata));
    if (PyErr_Occurred()) {
        Py_CLEAR(entry);
    }
    return entry;
}

static PyObject *metadata_list(const pra_columns *columns)
{
    PyObject *list = PyList_New((Py_ssize_t)columns->metadata_count);
    for (size_t i = 0; list && i < columns->metadata_count; i++) {
        PyObject *entry = metadata_entry(columns->base, &columns->metadata[i]);
        if (entry) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, entry);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

enum { REQUEST_METADATA, REQUEST_TIMESTAMPS, REQUEST_VALUES, REQUEST_STARTS, REQUEST_OFFSETS };
static int request_parts[] = {REQUEST_METADATA, REQUEST_TIMESTAMPS, REQUEST_VALUES, REQUEST_STARTS,
                              REQUEST_OFFSETS};

static PyObject *request_get(PyObject *self, void *part)
{
    request *r = (request *)self;
    const pra_columns *c = &r->columns;
    PyObject *result;
    if (pra__py_scope_enter(r->scope)) {
        return NULL;
    }
    switch (*(const int *)part) {
    case REQUEST_METADATA:
        result = metadata_list(c);
        break;
    case REQUEST_TIMESTAMPS:
        result = column_copy(c->timestamps_ms, c->sample_count, sizeof *c->timestamps_ms, "q");
        break;
    case REQUEST_VALUES:
        result = column_copy(c->values, c->sample_count, sizeof *c->values, "d");
        break;
    case REQUEST_STARTS:
        result =
            column_copy(c->start_timestamps_ms, c->sample_count, sizeof *c->timestamps_ms, "q");
        break;
    default:
        result =
            column_copy(c->sample_offsets, c->series_count + 1, sizeof *c->sample_offsets, "I");
        break;
    }
    pra__py_scope_leave(r->scope);
    return result;
}

static size_t count_offsets[] = {
    offsetof(pra_columns, series_count), offsetof(pra_columns, sample_count),
    offsetof(pra_columns, histogram_count), offsetof(pra_columns, exemplar_count)};

static PyObject *request_count(PyObject *self, void *offset)
{
    size_t count;
    memcpy(&count, (const char *)&((request *)self)->columns + *(const size_t *)offset,
           sizeof count);
    return PyLong_FromSize_t(count);
}

static PyObject *request_version(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((request *)self)->version);
}

static void request_dealloc(PyObject *self)
{
    Py_DECREF(((request *)self)->scope);
    Py_TYPE(self)->tp_free(self);
}

static PyGetSetDef request_getset[] = {
    {"version", request_version, NULL, "1 or 2: of the remote write protocol.", NULL},
    {"series_count", request_count, NULL, NULL, &count_offsets[0]},
    {"sample_count", request_count, NULL, NULL, &count_offsets[1]},
    {"histogram_count", request_count, NULL, NULL, &count_offsets[2]},
    {"exemplar_count", request_count, NULL, NULL, &count_offsets[3]},
    {"metadata", request_get, NULL, "A list of Metadata.", &request_parts[REQUEST_METADATA]},
    {"timestamps", request_get, NULL, "All timestamps: a memoryview of int64, milliseconds.",
     &request_parts[REQUEST_TIMESTAMPS]},
    {"values", request_get, NULL, "All values: a memoryview of double.",
     &request_parts[REQUEST_VALUES]},
    {"start_timestamps", request_get, NULL,
     "All start timestamps: a memoryview of int64, milliseconds; 0 = not said.",
     &request_parts[REQUEST_STARTS]},
    {"sample_offsets", request_get, NULL,
     "Series i has samples [sample_offsets[i], sample_offsets[i + 1]): a memoryview of uint32.",
     &request_parts[REQUEST_OFFSETS]},
    {NULL, NULL, NULL, NULL, NULL},
};

static PySequenceMethods request_sequence = {.sq_length = request_length, .sq_item = request_item};

static PyTypeObject request_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.WriteRequest",
    .tp_doc = "A decoded remote write request: a sequence of TimeSeries.",
    .tp_basicsize = sizeof(request),
    .tp_dealloc = request_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_as_sequence = &request_sequence,
    .tp_getset = request_getset,
};

PyObject *pra__py_write_request_new(pra__py_scope *scope, const pra_write_request *source,
                                    pra_write_result *result)
{
    request *r = PyObject_New(request, &request_type);
    if (!r) {
        return NULL;
    }
    r->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
    r->result = result;
    r->version = pra_write_request_version(source);
    r->columns = (pra_columns){.size = sizeof r->columns};
    if (pra_write_request_columns(source, &r->columns)) {
        Py_DECREF(r);
        PyErr_SetString(PyExc_SystemError, "no columns");
        return NULL;
    }
    return (PyObject *)r;
}

int pra__py_write_init(PyObject *module)
{
    if (PyModule_AddType(module, &context_type) || PyModule_AddType(module, &series_type) ||
        PyModule_AddType(module, &request_type)) {
        return -1;
    }
    if (!metadata_type) {
        metadata_type = PyStructSequence_NewType(&metadata_desc);
    }
    if (!exemplar_type) {
        exemplar_type = PyStructSequence_NewType(&exemplar_desc);
    }
    return metadata_type && exemplar_type && !PyModule_AddType(module, metadata_type)
               ? PyModule_AddType(module, exemplar_type)
               : -1;
}
