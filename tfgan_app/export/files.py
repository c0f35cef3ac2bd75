"""One signature of a trained model as one file, for ONNX Runtime or LiteRT."""

import json
import os
import pathlib
import tempfile
from typing import Any

import tensorflow as tf

# The one way to make a function's variables constants; TensorFlow documents it under this name alone.
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfgan_app.base.errors import Failure, UsageError
from tfgan_app.base.files import PathLike, local_path, reason, written_whole
from tfgan_app.export.formats import SIGNATURES, check_format, needed
from tfgan_app.export.saved_model import export_model
from tfgan_app.sampler import Signatures

__all__ = ["export_file"]

# Of ONNX's operators: the newest that tf2onnx writes, read by every ONNX Runtime from 1.14 on.
_OPSET = 18

# tf2onnx 1.17 goes through graphs in the order of addresses in memory, and now and then drops a Squeeze on its way: two
# of a hundred files of an SRGAN in grey had an axis too many.
_TRIALS = 5


def export_file(
    path: PathLike,
    signatures: Signatures,
    facts: dict[str, Any],
    *,
    format: str,
    signature: str | None = None,
    opset_version: int | None = None,
) -> pathlib.Path:
    """Writes one signature, with the weights that it uses, as an ONNX or a LiteRT file.

    Inputs and outputs have the names, dtypes and shapes of the signature, but that in ONNX the images that a translator
    returns are `translated_images`; the batch may have any size.

    Args:
        path: The file, which ends in `.onnx` or `.tflite`.
        signatures: The functions and the specs of their arguments by name; see `tfgan_app.sampler.Signatures`.
        facts: What is to be known of the model, as JSON takes it. An ONNX file keeps it under the name `tfgan_app`.
        format: `onnx` or `litert`.
        signature: Which one, of those that draw no random numbers; the first by default.
        opset_version: The version of ONNX's operators; 18 by default.

    Returns:
        The file's path.

    Raises:
        UsageError: If there is no such signature or format, or the converter is not installed.
        Failure: If the converter cannot translate an operation.
    """
    check_format(format, path)
    known = [name for name in SIGNATURES if name in signatures]
    signature = signature or next(iter(signatures))
    if signature not in known:
        raise UsageError(
            f"`signature={signature}` must be one of {', '.join(known)}: a file of `format={format}` holds a function "
            "that draws no random numbers."
        )
    if opset_version is not None and format != "onnx":
        raise UsageError(f"`opset_version={opset_version}` goes with `format=onnx`. Received: `format={format}`")
    try:
        if format == "onnx":
            content = _onnx(*signatures[signature], facts, opset_version or _OPSET)
        else:
            content = _litert(signature, signatures, facts)
    except (OSError, MemoryError, UsageError):
        raise
    except Exception as error:  # of many kinds: the converters' own, protobuf's, TensorFlow's
        raise Failure(f"`signature={signature}` cannot be converted to {format}: {reason(error)}") from error
    with written_whole(path) as partial:
        partial.write_bytes(content)
    return local_path(path)


def _onnx(function, specs, facts, opset):
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise UsageError(f"{needed()} ({error})") from error

    taken = {spec.name for spec in specs}

    def named(*inputs):
        # In ONNX no output has the name of an input.
        return {f"translated_{name}" if name in taken else name: x for name, x in function(*inputs).items()}

    traced = tf.function(named, input_signature=specs)
    ranks = {name: x.shape.rank for name, x in traced.get_concrete_function().structured_outputs.items()}
    for _ in range(_TRIALS):
        model, _ = tf2onnx.convert.from_function(traced, specs, opset=opset)
        found = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.output}
        if found == ranks:
            break
    else:
        raise ValueError(f"tf2onnx makes results of {found} axes in place of {ranks}")
    for value in (*model.graph.input, *model.graph.output):
        sides = value.type.tensor_type.shape.dim
        # tf2onnx numbers the sides that it does not know. Those of a result may be multiples of the source's.
        names = ("batch", "height", "width") if value in model.graph.input else ("batch",)
        for side, name in zip(sides, names, strict=False):
            if not side.HasField("dim_value"):
                side.dim_param = name
    onnx.helper.set_model_props(model, {"tfgan_app": json.dumps(facts)})
    # tf2onnx leaves what it cannot translate as it is.
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _litert(name, signatures, facts):
    function, specs = signatures[name]
    constant = {name: (_constant(function, specs), specs)}
    with tempfile.TemporaryDirectory() as folder:
        export_model(os.path.join(folder, "1"), constant, facts)
        converter = tf.lite.TFLiteConverter.from_saved_model(os.path.join(folder, "1"), signature_keys=[name])
        return converter.convert()


def _constant(function, specs):
    """Returns a function whose weights are constants, and whose reshapes say outright what TensorFlow knows of them.

    LiteRT's converter works those shapes out anew, and of Keras's upsampling gets sides that it then does not take.
    """
    concrete = tf.function(function, input_signature=specs).get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    definition = frozen.graph.as_graph_def()
    for node in [node for node in definition.node if node.op == "Reshape"]:
        shape = frozen.graph.get_operation_by_name(node.name).outputs[0].shape
        if shape.rank is None or shape.as_list().count(None) != 1:
            continue
        target = definition.node.add(name=f"{node.name}/known", op="Const")
        target.attr["dtype"].type = node.attr["Tshape"].type = tf.int32.as_datatype_enum
        sides = tf.make_tensor_proto([-1 if side is None else side for side in shape], tf.int32)
        target.attr["value"].tensor.CopyFrom(sides)
        node.input[1] = target.name
    imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
    pruned = imported.prune([x.name for x in frozen.inputs], [x.name for x in frozen.outputs])
    names = sorted(concrete.structured_outputs)
    return lambda *inputs: dict(zip(names, pruned(*inputs), strict=True))
