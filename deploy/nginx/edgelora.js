// Which model a request names: what its body says, or its X-Model header. nginx has read the whole body by the time that it asks, as it
// buffers requests; one that went to a file (client_body_buffer_size) is not looked at. Without a name, and for "auto", whose adapter
// is not chosen yet, each request has a key of its own: any node.
function model(r) {
    var name = r.headersIn['X-Model'];
    if (!name) {
        try {
            name = JSON.parse(r.requestText).model;
        } catch (e) {
            name = '';
        }
    }
    return typeof name === 'string' && name && name !== 'auto' ? name : r.variables.request_id;
}

export default { model };
