/* SPDX-License-Identifier: Apache-2.0 */
/* Where a storage's results go: Sink takes series, SeriesList the labels of those that fetch gives
 * later. */
#include "thunk_python_results.h"

typedef struct sink {
    PyObject_HEAD pra__py_scope *scope;
    pra_series_sink *sink;
    const pra_limits *limits;
    int busy; /* a call is in C or in the storage's iterator */
} sink;

/* ---- Sink */

static PyTypeObject sink_type;

pra_series_sink *pra__py_sink_enter(PyObject *object)
{
    sink *s = (sink *)object;
    if (!PyObject_TypeCheck(object, &sink_type)) {
        PyErr_Format(PyExc_TypeError, "expected Sink, not %.80s", Py_TYPE(object)->tp_name);
        return NULL;
    }
    if (s->busy) {
        PyErr_SetString(PyExc_RuntimeError, "this sink is in use by another call");
        return NULL;
    }
    if (pra__py_scope_enter(s->scope)) {
        return NULL;
    }
    s->busy = 1;
    return s->sink;
}

void pra__py_sink_leave(PyObject *object)
{
    sink *s = (sink *)object;
    s->busy = 0;
    pra__py_scope_leave(s->scope);
}

static PyObject *sink_take(PyObject *self, PyObject *object,
                           int (*fill)(pra__py_filler *f, PyObject *object))
{
    pra__py_filler f = {.sink = pra__py_sink_enter(self)};
    if (!f.sink) {
        return NULL;
    }
    f.limits = ((sink *)self)->limits;
    int code = fill(&f, object);
    pra__py_sink_leave(self);
    pra__py_filler_fini(&f);
    return code < 0 ? NULL : PyBool_FromLong(code == PRA_DONE);
}

static PyObject *sink_extend(PyObject *self, PyObject *iterable)
{
    return sink_take(self, iterable, pra__py_fill_all);
}

static PyObject *sink_add(PyObject *self, PyObject *item)
{
    return sink_take(self, item, pra__py_fill_item);
}

static void sink_dealloc(PyObject *self)
{
    Py_DECREF(((sink *)self)->scope);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef sink_methods[] = {
    {"extend", sink_extend, METH_O,
     "extend($self, series, /)\n--\n\nAdds the series of an iterable, or of a table that exports "
     "an "
     "Arrow stream. True: the sink has enough for now, the iterator stands behind the last series "
     "that was taken. False: there was no more."},
    {"add", sink_add, METH_O,
     "add($self, series, /)\n--\n\nAdds one series. True: it is taken, and the sink has enough for "
     "now."},
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

PyObject *pra__py_sink_new(pra__py_scope *scope, pra_series_sink *target, const pra_limits *limits)
{
    sink *s = PyObject_New(sink, &sink_type);
    if (s) {
        s->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
        s->sink = target;
        s->limits = limits;
        s->busy = 0;
    }
    return (PyObject *)s;
}

/* ---- SeriesList */

typedef struct list {
    PyObject_HEAD pra__py_scope *scope;
    pra_series_list *list;
} list;

static int add_pair(pra_series_list *target, pra__py_labels *labels, PyObject *item, PyObject *keys)
{
    pra_error err = {0};
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2) {
        PyErr_Format(PyExc_TypeError, "what select gives must be (labels, key), not %.80s",
                     Py_TYPE(item)->tp_name);
        return -1;
    }
    if (pra__py_labels_set(labels, PyTuple_GET_ITEM(item, 0))) {
        return -1;
    }
    const uint64_t id = (uint64_t)PyList_GET_SIZE(keys);
    int code = pra_series_list_add(target, labels->items, labels->count, id, &err);
    return code ? pra__py_sink_failed(code, &err) : PyList_Append(keys, PyTuple_GET_ITEM(item, 1));
}

static int add_pairs(pra_series_list *target, PyObject *pairs, PyObject *keys)
{
    pra__py_labels labels = {0};
    PyObject *iterator = PyObject_GetIter(pairs);
    PyObject *item;
    int code = iterator ? 0 : -1;
    while (!code && (item = PyIter_Next(iterator))) {
        code = add_pair(target, &labels, item, keys);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    pra__py_labels_fini(&labels);
    return code || PyErr_Occurred() ? -1 : 0;
}

static PyObject *list_extend(PyObject *self, PyObject *args)
{
    const list *l = (list *)self;
    PyObject *pairs, *keys;
    if (!PyArg_ParseTuple(args, "OO!", &pairs, &PyList_Type, &keys) ||
        pra__py_scope_enter(l->scope)) {
        return NULL;
    }
    int code = add_pairs(l->list, pairs, keys);
    pra__py_scope_leave(l->scope);
    if (code) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static void list_dealloc(PyObject *self)
{
    Py_DECREF(((list *)self)->scope);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef list_methods[] = {
    {"extend", list_extend, METH_VARARGS,
     "extend($self, pairs, keys, /)\n--\n\nAdds the series of an iterable of (labels, key). Each "
     "key "
     "is appended to keys, and where it stands there is the id that fetch is asked for."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject list_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api._pra.SeriesList",
    .tp_doc = "The series that a query found, before their data.",
    .tp_basicsize = sizeof(list),
    .tp_dealloc = list_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_methods = list_methods,
};

PyObject *pra__py_list_new(pra__py_scope *scope, pra_series_list *target)
{
    list *l = PyObject_New(list, &list_type);
    if (l) {
        l->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
        l->list = target;
    }
    return (PyObject *)l;
}

int pra__py_sink_init(PyObject *module)
{
    return PyModule_AddType(module, &sink_type) || PyModule_AddType(module, &list_type) ||
                   pra__py_feed_init(module)
               ? -1
               : 0;
}
