/* SPDX-License-Identifier: Apache-2.0 */
/* The objects a storage's process_query and read are given: Query and its Matchers. */
#include "thunk_python.h"

/* ---- Matcher */

typedef struct matcher {
    PyObject_HEAD pra__py_scope *scope;
    const pra_matcher *matcher;
} matcher;

static PyObject *matcher_type_name(const pra_matcher *m)
{
    static const char *const names[] = {"=", "!=", "=~", "!~"};
    size_t type = (size_t)pra_matcher_type(m);
    return PyUnicode_FromString(type < 4 ? names[type] : "?");
}

static PyObject *matcher_text(const pra_matcher *m,
                              void (*get)(const pra_matcher *matcher, pra_str *out))
{
    pra_str text;
    get(m, &text);
    return pra__py_str(text);
}

static PyObject *matcher_set(const pra_matcher *m)
{
    const pra_str *values;
    size_t count = pra_matcher_set(m, &values);
    if (count == 0) {
        Py_RETURN_NONE;
    }
    PyObject *set = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; set && i < count; i++) {
        PyObject *text = pra__py_str(values[i]);
        if (text) {
            PyTuple_SET_ITEM(set, (Py_ssize_t)i, text);
        } else {
            Py_CLEAR(set);
        }
    }
    return set;
}

static PyObject *matcher_prefix(const pra_matcher *m)
{
    pra_str prefix;
    if (!pra_matcher_prefix(m, &prefix)) {
        Py_RETURN_NONE;
    }
    return pra__py_str(prefix);
}

enum { MATCHER_TYPE, MATCHER_NAME, MATCHER_VALUE, MATCHER_SET, MATCHER_PREFIX };
static int matcher_parts[] = {MATCHER_TYPE, MATCHER_NAME, MATCHER_VALUE, MATCHER_SET,
                              MATCHER_PREFIX};

static PyObject *matcher_make(const pra_matcher *m, int part)
{
    switch (part) {
    case MATCHER_TYPE:
        return matcher_type_name(m);
    case MATCHER_NAME:
        return matcher_text(m, pra_matcher_name);
    case MATCHER_VALUE:
        return matcher_text(m, pra_matcher_value);
    case MATCHER_SET:
        return matcher_set(m);
    default:
        return matcher_prefix(m);
    }
}

static PyObject *matcher_get(PyObject *self, void *part)
{
    const matcher *m = (matcher *)self;
    if (pra__py_scope_enter(m->scope)) {
        return NULL;
    }
    PyObject *result = matcher_make(m->matcher, *(const int *)part);
    pra__py_scope_leave(m->scope);
    return result;
}

/* No answer is not "no": series would be missing. */
static PyObject *matches(int code)
{
    if (code == PRA_ERR_NOMEM) {
        return PyErr_NoMemory();
    }
    if (code < 0) {
        PyErr_SetString(PyExc_RuntimeError, pra_strerror(code));
        return NULL;
    }
    return PyBool_FromLong(code);
}

static PyObject *matcher_matches(PyObject *self, PyObject *value)
{
    const matcher *m = (matcher *)self;
    pra_str text;
    if (pra__py_utf8(value, &text) || pra__py_scope_enter(m->scope)) {
        return NULL;
    }
    int code = pra_matcher_matches(m->matcher, text);
    pra__py_scope_leave(m->scope);
    return matches(code);
}

static PyObject *matcher_repr(PyObject *self)
{
    const matcher *m = (matcher *)self;
    if (pra__py_scope_enter(m->scope)) {
        PyErr_Clear();
        return PyUnicode_FromString("<Matcher of a request that is over>");
    }
    PyObject *name = matcher_make(m->matcher, MATCHER_NAME);
    PyObject *type = matcher_make(m->matcher, MATCHER_TYPE);
    PyObject *value = matcher_make(m->matcher, MATCHER_VALUE);
    pra__py_scope_leave(m->scope);
    PyObject *text = NULL;
    if (name && type && value) {
        text = PyUnicode_FromFormat("<Matcher %U%U%R>", name, type, value);
    }
    Py_XDECREF(name);
    Py_XDECREF(type);
    Py_XDECREF(value);
    return text;
}

static void matcher_dealloc(PyObject *self)
{
    Py_DECREF(((matcher *)self)->scope);
    Py_TYPE(self)->tp_free(self);
}

static PyGetSetDef matcher_getset[] = {
    {"type", matcher_get, NULL, "'=', '!=', '=~' or '!~'.", &matcher_parts[MATCHER_TYPE]},
    {"name", matcher_get, NULL, "Label name.", &matcher_parts[MATCHER_NAME]},
    {"value", matcher_get, NULL,
     "Label value; of =~ and !~ a pattern, which must match the whole value.",
     &matcher_parts[MATCHER_VALUE]},
    {"set", matcher_get, NULL,
     "All values that = or =~ accepts (!= or !~ refuses), sorted; None if they cannot be listed.",
     &matcher_parts[MATCHER_SET]},
    {"prefix", matcher_get, NULL,
     "What every value that = or =~ accepts (!= or !~ refuses) starts with; None if unknown.",
     &matcher_parts[MATCHER_PREFIX]},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef matcher_methods[] = {
    {"matches", matcher_matches, METH_O,
     "matches($self, value, /)\n--\n\nWhether a label with this value satisfies the matcher; '' "
     "stands for a missing label."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject matcher_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.Matcher",
    .tp_doc = "One label matcher of a Query, compiled.",
    .tp_basicsize = sizeof(matcher),
    .tp_dealloc = matcher_dealloc,
    .tp_repr = matcher_repr,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_getset = matcher_getset,
    .tp_methods = matcher_methods,
};

static PyObject *matcher_new(pra__py_scope *scope, const pra_matcher *source)
{
    matcher *m = PyObject_New(matcher, &matcher_type);
    if (m) {
        m->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
        m->matcher = source;
    }
    return (PyObject *)m;
}

/* ---- Query */

typedef struct query {
    PyObject_HEAD pra__py_scope *scope;
    const pra_query *query;
} query;

static PyStructSequence_Field hints_fields[] = {
    {"step_ms", "Step of the range query, or 0."},
    {"func", "Function or aggregation around the selector, or ''."},
    {"start_ms", "Start of the data wanted."},
    {"end_ms", "End of the data wanted."},
    {"grouping", "Label names of the aggregation."},
    {"by", "Whether grouping is 'by' (else 'without')."},
    {"range_ms", "Range of the selector, up[5m] say, or 0."},
    {NULL, NULL},
};
static PyStructSequence_Desc hints_desc = {
    "prom_remote_api.Hints", "Advice from the reader; all of it may be ignored.", hints_fields, 7};
static PyTypeObject *hints_type;

static PyObject *grouping_tuple(const pra_read_hints *hints)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)hints->grouping_count);
    for (size_t i = 0; tuple && i < hints->grouping_count; i++) {
        PyObject *text = pra__py_str(hints->grouping[i]);
        if (text) {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, text);
        } else {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static PyObject *query_hints(const pra_query *q)
{
    pra_read_hints hints = {.size = sizeof hints};
    if (pra_query_hints(q, &hints) || !hints.present) {
        Py_RETURN_NONE;
    }
    PyObject *result = PyStructSequence_New(hints_type);
    if (!result) {
        return NULL;
    }
    PyStructSequence_SetItem(result, 0, PyLong_FromLongLong(hints.step_ms));
    PyStructSequence_SetItem(result, 1, pra__py_str(hints.func));
    PyStructSequence_SetItem(result, 2, PyLong_FromLongLong(hints.start_ms));
    PyStructSequence_SetItem(result, 3, PyLong_FromLongLong(hints.end_ms));
    PyStructSequence_SetItem(result, 4, grouping_tuple(&hints));
    PyStructSequence_SetItem(result, 5, PyBool_FromLong(hints.by));
    PyStructSequence_SetItem(result, 6, PyLong_FromLongLong(hints.range_ms));
    if (PyErr_Occurred()) {
        Py_CLEAR(result);
    }
    return result;
}

static PyObject *query_matchers(const query *q)
{
    size_t count = pra_query_matcher_count(q->query);
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *m = matcher_new(q->scope, pra_query_matcher(q->query, i));
        if (m) {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, m);
        } else {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

enum { QUERY_START, QUERY_END, QUERY_MATCHERS, QUERY_HINTS };
static int query_parts[] = {QUERY_START, QUERY_END, QUERY_MATCHERS, QUERY_HINTS};

static PyObject *query_make(const query *q, int part)
{
    switch (part) {
    case QUERY_START:
        return PyLong_FromLongLong(pra_query_start_ms(q->query));
    case QUERY_END:
        return PyLong_FromLongLong(pra_query_end_ms(q->query));
    case QUERY_MATCHERS:
        return query_matchers(q);
    default:
        return query_hints(q->query);
    }
}

static PyObject *query_get(PyObject *self, void *part)
{
    const query *q = (query *)self;
    if (pra__py_scope_enter(q->scope)) {
        return NULL;
    }
    PyObject *result = query_make(q, *(const int *)part);
    pra__py_scope_leave(q->scope);
    return result;
}

static PyObject *query_matches(PyObject *self, PyObject *mapping)
{
    const query *q = (query *)self;
    pra__py_labels labels = {0};
    PyObject *result = NULL;
    if (pra__py_scope_enter(q->scope)) {
        return NULL;
    }
    if (pra__py_labels_set(&labels, mapping) == 0) {
        result = matches(pra_query_matches(q->query, labels.items, labels.count));
    }
    pra__py_scope_leave(q->scope);
    pra__py_labels_fini(&labels);
    return result;
}

/* ---- Query.encode */

static int copy_matchers(const pra_query *q, pra_read_request *out)
{
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < pra_query_matcher_count(q); i++) {
        const pra_matcher *m = pra_query_matcher(q, i);
        pra_str name, value;
        pra_matcher_name(m, &name);
        pra_matcher_value(m, &value);
        code = pra_read_request_add_matcher(out, pra_matcher_type(m), name, value);
    }
    return code;
}

static int copy_query(const pra_query *q, pra_read_request *out)
{
    pra_read_hints hints = {.size = sizeof hints};
    int code = pra_read_request_add_query(out, pra_query_start_ms(q), pra_query_end_ms(q));
    if (code == PRA_OK) {
        code = copy_matchers(q, out);
    }
    if (code == PRA_OK) {
        code = pra_query_hints(q, &hints);
    }
    return code == PRA_OK && hints.present ? pra_read_request_set_hints(out, &hints) : code;
}

/* Names of response types into the request. Returns 0, or -1 with an exception. */
static int add_types(pra_read_request *out, PyObject *names)
{
    static const char *const known[] = {"samples", "streamed_xor_chunks"};
    PyObject *fast = PySequence_Fast(names, "response_types must be a sequence of str");
    int code = fast ? 0 : -1;
    for (Py_ssize_t i = 0; !code && i < PySequence_Fast_GET_SIZE(fast); i++) {
        PyObject *name = PySequence_Fast_GET_ITEM(fast, i);
        int type = 0;
        while (type < 2 && !(PyUnicode_Check(name) &&
                             PyUnicode_CompareWithASCIIString(name, known[type]) == 0)) {
            type++;
        }
        if (type == 2) {
            PyErr_Format(PyExc_ValueError, "no such response type: %R", name);
            code = -1;
        } else if (pra_read_request_add_accepted(out, type)) {
            PyErr_NoMemory();
            code = -1;
        }
    }
    Py_XDECREF(fast);
    return code;
}

/* The message of out, as a snappy block; buffers[0] and [1] are empty. */
static PyObject *encode_request(const pra_read_request *request, pra_buffer *const *buffers)
{
    pra_error err = {0};
    int code = pra_read_request_encode(request, buffers[0], &err);
    if (code == PRA_OK) {
        code = pra_snappy_compress(pra_buffer_data(buffers[0]), pra_buffer_len(buffers[0]),
                                   buffers[1], &err);
    }
    if (code) {
        return pra__py_raise_code(code, &err);
    }
    return PyBytes_FromStringAndSize(pra_buffer_data(buffers[1]),
                                     (Py_ssize_t)pra_buffer_len(buffers[1]));
}

static PyObject *encode(const pra_query *q, PyObject *types)
{
    pra_read_request *request = NULL;
    pra_buffer *buffers[2] = {NULL, NULL};
    pra_error err = {0};
    PyObject *result = NULL;
    int code = pra_read_request_new(NULL, &request);
    for (int i = 0; code == PRA_OK && i < 2; i++) {
        code = pra_buffer_new(NULL, &buffers[i]);
    }
    if (code == PRA_OK) {
        code = copy_query(q, request);
    }
    if (code) {
        (void)pra__py_raise_code(code, &err);
    } else if (!types || add_types(request, types) == 0) {
        result = encode_request(request, buffers);
    }
    pra_buffer_free(buffers[0]);
    pra_buffer_free(buffers[1]);
    pra_read_request_free(request);
    return result;
}

static PyObject *query_encode(PyObject *self, PyObject *args, PyObject *named)
{
    static char *names[] = {"response_types", NULL};
    const query *q = (query *)self;
    PyObject *types = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, named, "|O:encode", names, &types) ||
        pra__py_scope_enter(q->scope)) {
        return NULL;
    }
    PyObject *result = encode(q->query, types);
    pra__py_scope_leave(q->scope);
    return result;
}

static void query_dealloc(PyObject *self)
{
    Py_DECREF(((query *)self)->scope);
    Py_TYPE(self)->tp_free(self);
}

static PyGetSetDef query_getset[] = {
    {"start_ms", query_get, NULL, "First millisecond wanted, since 1970.",
     &query_parts[QUERY_START]},
    {"end_ms", query_get, NULL, "Last millisecond wanted: it belongs to the range.",
     &query_parts[QUERY_END]},
    {"matchers", query_get, NULL, "A tuple of Matcher, all of which a series must satisfy.",
     &query_parts[QUERY_MATCHERS]},
    {"hints", query_get, NULL, "Hints; None if the reader gave none.", &query_parts[QUERY_HINTS]},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef query_methods[] = {
    {"matches", query_matches, METH_O,
     "matches($self, labels, /)\n--\n\nWhether a series with these labels satisfies all "
     "matchers."},
    {"encode", (PyCFunction)(void (*)(void))query_encode, METH_VARARGS | METH_KEYWORDS,
     "A ReadRequest of this query alone, as the body of a request to another server (a snappy "
     "block). response_types: 'samples' (what it is if nothing is said), 'streamed_xor_chunks', "
     "the "
     "one that is preferred first."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject query_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.Query",
    .tp_doc =
        "One query of a remote read request. Of Prometheus each selector of an expression is one.",
    .tp_basicsize = sizeof(query),
    .tp_dealloc = query_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_getset = query_getset,
    .tp_methods = query_methods,
};

PyObject *pra__py_query_new(pra__py_scope *scope, const pra_query *source)
{
    query *q = PyObject_New(query, &query_type);
    if (q) {
        q->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
        q->query = source;
    }
    return (PyObject *)q;
}

PyObject *pra__py_queries_new(pra__py_scope *scope, const pra_read_request *request)
{
    size_t count = pra_read_request_query_count(request);
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *q = pra__py_query_new(scope, pra_read_request_query(request, i));
        if (q) {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, q);
        } else {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

int pra__py_read_init(PyObject *module)
{
    if (PyModule_AddType(module, &matcher_type) || PyModule_AddType(module, &query_type) ||
        pra__py_response_init(module)) {
        return -1;
    }
    if (!hints_type) {
        hints_type = PyStructSequence_NewType(&hints_desc);
    }
    return hints_type ? PyModule_AddType(module, hints_type) : -1;
}
