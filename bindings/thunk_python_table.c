/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of a request for whatever speaks Arrow: the PyCapsule interface over pra_arrow.h. */
#include "thunk_python_write.h"

#include <string.h>

#include "pra_arrow.h"

typedef struct table {
    PyObject_HEAD pra__py_request *request;
    int32_t number; /* PRA_ARROW_... */
} table;

static const char *const table_names[] = {
    [PRA_ARROW_SAMPLES] = "samples",       [PRA_ARROW_SERIES] = "series",
    [PRA_ARROW_HISTOGRAMS] = "histograms", [PRA_ARROW_EXEMPLARS] = "exemplars",
    [PRA_ARROW_METADATA] = "metadata",
};

static Py_ssize_t table_length(PyObject *self)
{
    const table *t = (table *)self;
    const pra_columns *c = &t->request->memory->columns;
    const size_t counts[] = {
        [PRA_ARROW_SAMPLES] = c->sample_count,       [PRA_ARROW_SERIES] = c->series_count,
        [PRA_ARROW_HISTOGRAMS] = c->histogram_count, [PRA_ARROW_EXEMPLARS] = c->exemplar_count,
        [PRA_ARROW_METADATA] = c->metadata_count,
    };
    return (Py_ssize_t)counts[t->number];
}

/* ---- capsules: who takes one moves the struct out of it, or leaves it to us */

static void schema_free(PyObject *capsule)
{
    struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, "arrow_schema");
    if (schema->release) {
        schema->release(schema);
    }
    PyMem_Free(schema);
}

static void array_free(PyObject *capsule)
{
    struct ArrowArray *array = PyCapsule_GetPointer(capsule, "arrow_array");
    if (array->release) {
        array->release(array);
    }
    PyMem_Free(array);
}

static void stream_free(PyObject *capsule)
{
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (stream->release) {
        stream->release(stream);
    }
    PyMem_Free(stream);
}

/* A capsule around size zeroed bytes, which *out points to. */
static PyObject *capsule_new(const char *name, size_t size, PyCapsule_Destructor destructor,
                             void *out)
{
    void *memory = PyMem_Calloc(1, size);
    PyObject *capsule = memory ? PyCapsule_New(memory, name, destructor) : PyErr_NoMemory();
    if (!capsule) {
        PyMem_Free(memory);
    }
    memcpy(out, &memory, sizeof memory);
    return capsule;
}

static PyObject *schema_capsule(struct ArrowSchema **out)
{
    return capsule_new("arrow_schema", sizeof **out, schema_free, out);
}

/* ---- exports; requested_schema is a wish, which may be passed over */

static int parse_wish(PyObject *args, PyObject *named)
{
    static char *names[] = {"requested_schema", NULL};
    PyObject *wish = Py_None;
    return PyArg_ParseTupleAndKeywords(args, named, "|O", names, &wish) ? 0 : -1;
}

/* What an export came to, capsule being full or empty. */
static PyObject *concluded(const table *t, PyObject *capsule, int code, const pra_error *err)
{
    pra__py_request_leave(t->request);
    if (code) {
        pra__py_raise(err);
        Py_CLEAR(capsule);
    }
    return capsule;
}

static PyObject *table_schema(PyObject *self, PyObject *unused)
{
    const table *t = (table *)self;
    struct ArrowSchema *schema;
    pra_error err = {0};
    (void)unused;
    PyObject *capsule = schema_capsule(&schema);
    const int code = capsule ? pra_arrow_schema(t->number, NULL, schema) : PRA_OK;
    if (code) {
        (void)pra_error_set_cstr(&err, code, "the type of a table cannot be made");
        pra__py_raise(&err);
        Py_CLEAR(capsule);
    }
    return capsule;
}

static PyObject *table_array(PyObject *self, PyObject *args, PyObject *named)
{
    const table *t = (table *)self;
    struct ArrowSchema *schema;
    struct ArrowArray *array;
    pra_error err = {0};
    int code;
    if (parse_wish(args, named) || pra__py_request_enter(t->request)) {
        return NULL;
    }
    PyObject *first = schema_capsule(&schema);
    PyObject *second = first ? capsule_new("arrow_array", sizeof *array, array_free, &array) : NULL;
    PyObject *pair = second ? PyTuple_Pack(2, first, second) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    if (!pair) {
        pra__py_request_leave(t->request);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    code = pra_arrow_export(t->request->memory->request, t->number, NULL, schema, array, &err);
    Py_END_ALLOW_THREADS;
    return concluded(t, pair, code, &err);
}

static PyObject *table_stream(PyObject *self, PyObject *args, PyObject *named)
{
    const table *t = (table *)self;
    struct ArrowArrayStream *stream;
    pra_error err = {0};
    int code;
    if (parse_wish(args, named) || pra__py_request_enter(t->request)) {
        return NULL;
    }
    PyObject *capsule = capsule_new("arrow_array_stream", sizeof *stream, stream_free, &stream);
    if (!capsule) {
        pra__py_request_leave(t->request);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    code = pra_arrow_stream(t->request->memory->request, t->number, NULL, stream, &err);
    Py_END_ALLOW_THREADS;
    return concluded(t, capsule, code, &err);
}

/* ---- other attributes */

static PyObject *names_of(PyObject *capsule)
{
    const struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, "arrow_schema");
    PyObject *names = schema ? PyTuple_New((Py_ssize_t)schema->n_children) : NULL;
    for (int64_t i = 0; names && i < schema->n_children; i++) {
        PyObject *name = PyUnicode_FromString(schema->children[i]->name);
        if (name) {
            PyTuple_SET_ITEM(names, (Py_ssize_t)i, name);
        } else {
            Py_CLEAR(names);
        }
    }
    return names;
}

static PyObject *table_column_names(PyObject *self, void *unused)
{
    PyObject *capsule = table_schema(self, NULL);
    PyObject *names = capsule ? names_of(capsule) : NULL;
    (void)unused;
    Py_XDECREF(capsule);
    return names;
}

static PyObject *table_repr(PyObject *self)
{
    const table *t = (table *)self;
    PyObject *names = table_column_names(self, NULL);
    PyObject *comma = names ? PyUnicode_FromString(", ") : NULL;
    PyObject *joined = comma ? PyUnicode_Join(comma, names) : NULL;
    PyObject *repr = NULL;
    if (joined) {
        repr = PyUnicode_FromFormat("<%s %s of %zd rows: %U>", Py_TYPE(self)->tp_name,
                                    table_names[t->number], table_length(self), joined);
    }
    Py_XDECREF(joined);
    Py_XDECREF(comma);
    Py_XDECREF(names);
    return repr;
}

static void table_dealloc(PyObject *self)
{
    Py_DECREF(((table *)self)->request);
    Py_TYPE(self)->tp_free(self);
}

static PyGetSetDef table_getset[] = {
    {"column_names", table_column_names, NULL, "A tuple of the names of the columns.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef table_methods[] = {
    {"__arrow_c_schema__", table_schema, METH_NOARGS,
     "__arrow_c_schema__($self)\n--\n\nA capsule of the table's type."},
    {"__arrow_c_array__", (PyCFunction)(void (*)(void))table_array, METH_VARARGS | METH_KEYWORDS,
     "__arrow_c_array__($self, requested_schema=None)\n--\n\n"
     "Capsules of the table's type and of its data, as a struct array. Other threads run "
     "meanwhile."},
    {"__arrow_c_stream__", (PyCFunction)(void (*)(void))table_stream, METH_VARARGS | METH_KEYWORDS,
     "__arrow_c_stream__($self, requested_schema=None)\n--\n\n"
     "A capsule of the table as a stream of one batch. Other threads run meanwhile."},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods table_sequence = {.sq_length = table_length};

static PyTypeObject table_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.Table",
    .tp_doc = "A table of a request, for whatever takes Arrow: pyarrow.table(request.samples), "
              "polars.DataFrame(request.series).\n\n"
              "What is made of it may be kept: it has a share of the request's memory.",
    .tp_basicsize = sizeof(table),
    .tp_dealloc = table_dealloc,
    .tp_repr = table_repr,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_as_sequence = &table_sequence,
    .tp_methods = table_methods,
    .tp_getset = table_getset,
};

/* ---- metadata */

static PyObject *metadata_item(PyObject *self, Py_ssize_t index)
{
    const table *t = (table *)self;
    if (index < 0 || index >= table_length(self)) {
        PyErr_SetString(PyExc_IndexError, "no such entry of metadata");
        return NULL;
    }
    if (pra__py_request_enter(t->request)) {
        return NULL;
    }
    PyObject *entry = pra__py_metadata_entry(&t->request->memory->columns, (size_t)index);
    pra__py_request_leave(t->request);
    return entry;
}

static PySequenceMethods metadata_sequence = {.sq_length = table_length, .sq_item = metadata_item};

static PyTypeObject metadata_table_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.MetadataTable",
    .tp_doc = "The metadata of a request: a Table, and a sequence of Metadata.",
    .tp_base = &table_type,
    .tp_basicsize = sizeof(table),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_as_sequence = &metadata_sequence,
};

PyObject *pra__py_table_new(pra__py_request *request, int32_t number)
{
    table *t =
        PyObject_New(table, number == PRA_ARROW_METADATA ? &metadata_table_type : &table_type);
    if (t) {
        t->request = (pra__py_request *)Py_NewRef((PyObject *)request);
        t->number = number;
    }
    return (PyObject *)t;
}

int pra__py_table_init(PyObject *module)
{
    return PyModule_AddType(module, &table_type) || PyModule_AddType(module, &metadata_table_type)
               ? -1
               : 0;
}
