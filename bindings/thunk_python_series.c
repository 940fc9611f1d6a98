/* SPDX-License-Identifier: Apache-2.0 */
/* TimeSeries: one series of a request. */
#include "thunk_python_write.h"

#include <string.h>

typedef struct series {
    PyObject_HEAD pra__py_request *request;
    size_t index;
    PyObject *labels;  /* made when first asked for; the storage may change it, */
    PyObject *samples; /* and put anything in, even this object: hence the collector */
} series;

/* ---- labels */

static PyObject *span_text(const char *base, pra_span span)
{
    return pra__py_text(base + span.off, span.len);
}

/* The string that stands for a symbol. A reference that names none is the empty string of no
 * symbol [W-33]. */
static PyObject *symbol_text(pra__py_memory *m, uint32_t number, pra_span span)
{
    const pra_columns *c = &m->columns;
    if (number >= c->symbol_count || c->symbols[number].off != span.off ||
        c->symbols[number].len != span.len) {
        return span_text(c->base, span);
    }
    if (!m->symbols[number]) {
        PyObject *text = span_text(c->base, span);
        if (!text) {
            return NULL;
        }
        Py_XSETREF(m->symbols[number], text);
    }
    return Py_NewRef(m->symbols[number]);
}

/* 1 if there is a place for each symbol's string, 0 if the request has no symbols; -1 with an
 * exception. */
static int have_symbols(pra__py_memory *m)
{
    if (!m->columns.label_refs || !m->columns.symbol_count) {
        return 0;
    }
    if (!m->symbols) {
        m->symbols = PyMem_Calloc(m->columns.symbol_count, sizeof(PyObject *));
    }
    if (!m->symbols) {
        PyErr_NoMemory();
        return -1;
    }
    return 1;
}

/* Adds labels [start, end) of a request. */
static int add_labels(pra__py_memory *m, PyObject *dict, size_t start, size_t end)
{
    const pra_columns *c = &m->columns;
    const int by_symbol = have_symbols(m);
    int code = by_symbol < 0 ? -1 : 0;
    for (size_t i = start; !code && i < end; i++) {
        const pra_label_span *l = &c->labels[i];
        PyObject *name = by_symbol ? symbol_text(m, c->label_refs[i].name, l->name)
                                   : span_text(c->base, l->name);
        PyObject *value = !name       ? NULL
                          : by_symbol ? symbol_text(m, c->label_refs[i].value, l->value)
                                      : span_text(c->base, l->value);
        code = value ? PyDict_SetItem(dict, name, value) : -1;
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return code;
}

static PyObject *labels_dict(pra__py_memory *m, size_t index)
{
    PyObject *dict = PyDict_New();
    const uint32_t *offsets = m->columns.label_offsets + index;
    if (dict && add_labels(m, dict, offsets[0], offsets[1])) {
        Py_CLEAR(dict);
    }
    return dict;
}

PyObject *pra__py_labels_list(pra__py_memory *m)
{
    PyObject *list = PyList_New((Py_ssize_t)m->columns.series_count);
    for (size_t i = 0; list && i < m->columns.series_count; i++) {
        PyObject *dict = labels_dict(m, i);
        if (dict) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, dict);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* ---- samples */

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

/* ---- exemplars */

static PyObject *exemplar_labels(const pra_columns *c, size_t index)
{
    PyObject *dict = PyDict_New();
    const uint32_t *offsets = c->exemplar_label_offsets + index;
    for (size_t i = offsets[0]; dict && i < offsets[1]; i++) {
        PyObject *name = span_text(c->base, c->exemplar_labels[i].name);
        PyObject *value = name ? span_text(c->base, c->exemplar_labels[i].value) : NULL;
        if (!value || PyDict_SetItem(dict, name, value)) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return dict;
}

static PyStructSequence_Field exemplar_fields[] = {
    {"labels", "A dict of label names and values: trace_id, say."},
    {"value", "What was observed."},
    {"timestamp", "When, in milliseconds since 1970; 0 = not said."},
    {NULL, NULL},
};
static PyStructSequence_Desc exemplar_desc = {
    "prom_remote_api.Exemplar",
    "One observation among those that made a series, with a trace to look at.", exemplar_fields, 3};
static PyTypeObject *exemplar_type;

static PyObject *exemplar_entry(const pra_columns *c, size_t index)
{
    PyObject *entry = PyStructSequence_New(exemplar_type);
    if (!entry) {
        return NULL;
    }
    PyStructSequence_SetItem(entry, 0, exemplar_labels(c, index));
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

/* ---- attributes */

enum {
    SERIES_LABELS,
    SERIES_SAMPLES,
    SERIES_TIMESTAMPS,
    SERIES_VALUES,
    SERIES_STARTS,
    SERIES_HISTOGRAMS,
    SERIES_EXEMPLARS,
    SERIES_FINGERPRINT
};
static int series_parts[] = {SERIES_LABELS,    SERIES_SAMPLES,    SERIES_TIMESTAMPS,
                             SERIES_VALUES,    SERIES_STARTS,     SERIES_HISTOGRAMS,
                             SERIES_EXEMPLARS, SERIES_FINGERPRINT};

static PyObject *cached(PyObject **place, PyObject *made)
{
    if (*place) {
        Py_XDECREF(made); /* another thread was faster */
    } else {
        *place = made;
    }
    return Py_XNewRef(*place);
}

static PyObject *make_samples(const pra_columns *c, size_t index)
{
    const uint32_t first = c->sample_offsets[index];
    const size_t count = c->sample_offsets[index + 1] - first;
    return samples_list(count ? c->timestamps_ms + first : NULL, count ? c->values + first : NULL,
                        count);
}

static PyObject *make_column(const series *s, const pra__py_field *field)
{
    pra__py_memory *m = s->request->memory;
    const uint32_t *offsets = m->columns.sample_offsets + s->index;
    return pra__py_column_view(m, s->request->scope != NULL, field, offsets[0],
                               offsets[1] - offsets[0]);
}

static PyObject *make_fingerprint(const pra_columns *c, size_t index)
{
    const uint32_t first = c->label_offsets[index];
    const size_t count = c->label_offsets[index + 1] - first;
    return PyLong_FromUnsignedLongLong(
        pra_labels_fingerprint(c->base, count ? c->labels + first : NULL, count));
}

static PyObject *series_make(series *s, int part)
{
    pra__py_memory *m = s->request->memory;
    const pra_columns *c = &m->columns;
    const size_t i = s->index;
    switch (part) {
    case SERIES_LABELS:
        return cached(&s->labels, s->labels ? NULL : labels_dict(m, i));
    case SERIES_SAMPLES:
        return cached(&s->samples, s->samples ? NULL : make_samples(c, i));
    case SERIES_TIMESTAMPS:
        return make_column(s, &pra__py_timestamps);
    case SERIES_VALUES:
        return make_column(s, &pra__py_values);
    case SERIES_STARTS:
        return make_column(s, &pra__py_starts);
    case SERIES_HISTOGRAMS:
        return pra__py_histograms_list(c, c->histogram_offsets[i],
                                       c->histogram_offsets[i + 1] - c->histogram_offsets[i]);
    case SERIES_EXEMPLARS:
        return exemplars_list(c, c->exemplar_offsets[i],
                              c->exemplar_offsets[i + 1] - c->exemplar_offsets[i]);
    default:
        return make_fingerprint(c, i);
    }
}

static PyObject *series_get(PyObject *self, void *part)
{
    series *s = (series *)self;
    if (pra__py_request_enter(s->request)) {
        return NULL;
    }
    PyObject *result = series_make(s, *(const int *)part);
    pra__py_request_leave(s->request);
    return result;
}

static PyObject *series_index(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((series *)self)->index);
}

/* ---- refusing */

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

static int is_kept(const pra__py_request *request)
{
    if (!request->result) {
        PyErr_SetString(pra__py_expired_error,
                        "a request that is kept is not being answered: reject series of the one "
                        "that write was given");
    }
    return !request->result;
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
    if (kind < 0 || count < 0 || is_kept(s->request) || pra__py_request_enter(s->request)) {
        return NULL;
    }
    pra_write_result_reject(s->request->result, kind, s->index, (size_t)count, text);
    pra__py_request_leave(s->request);
    Py_RETURN_NONE;
}

/* ---- the type */

static int series_traverse(PyObject *self, visitproc visit, void *arg)
{
    series *s = (series *)self;
    Py_VISIT(s->labels);
    Py_VISIT(s->samples);
    return 0;
}

static int series_clear(PyObject *self)
{
    series *s = (series *)self;
    Py_CLEAR(s->labels);
    Py_CLEAR(s->samples);
    return 0;
}

static void series_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    (void)series_clear(self);
    Py_DECREF(((series *)self)->request);
    PyObject_GC_Del(self);
}

static PyGetSetDef series_getset[] = {
    {"labels", series_get, NULL,
     "A dict of label names and values; '__name__' is the metric's. The same object each time.",
     &series_parts[SERIES_LABELS]},
    {"samples", series_get, NULL,
     "A list of (timestamp in ms, value). A NaN may be a stale marker: is_stale(). The same object "
     "each time.",
     &series_parts[SERIES_SAMPLES]},
    {"timestamps", series_get, NULL, "A memoryview of int64: milliseconds. No copy.",
     &series_parts[SERIES_TIMESTAMPS]},
    {"values", series_get, NULL, "A memoryview of double. No copy.", &series_parts[SERIES_VALUES]},
    {"start_timestamps", series_get, NULL,
     "Since when each sample counts: a memoryview of int64, milliseconds; 0 = not said. None if "
     "the request says it of no sample. No copy.",
     &series_parts[SERIES_STARTS]},
    {"histograms", series_get, NULL, "A new list of Histogram.", &series_parts[SERIES_HISTOGRAMS]},
    {"exemplars", series_get, NULL, "A new list of Exemplar.", &series_parts[SERIES_EXEMPLARS]},
    {"fingerprint", series_get, NULL,
     "A hash of the labels, the same everywhere and for ever: XXH64, as Prometheus' labels.Hash. "
     "Different labels can share one.",
     &series_parts[SERIES_FINGERPRINT]},
    {"index", series_index, NULL, "Position in the request, from 0.", NULL},
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
    .tp_traverse = series_traverse,
    .tp_clear = series_clear,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_getset = series_getset,
    .tp_methods = series_methods,
};

PyObject *pra__py_series_new(pra__py_request *request, size_t index)
{
    series *s = PyObject_GC_New(series, &series_type);
    if (s) {
        s->request = (pra__py_request *)Py_NewRef((PyObject *)request);
        s->index = index;
        s->labels = NULL;
        s->samples = NULL;
        PyObject_GC_Track((PyObject *)s);
    }
    return (PyObject *)s;
}

int pra__py_series_init(PyObject *module)
{
    if (!exemplar_type) {
        exemplar_type = PyStructSequence_NewType(&exemplar_desc);
    }
    return exemplar_type && !PyModule_AddType(module, exemplar_type)
               ? PyModule_AddType(module, &series_type)
               : -1;
}
