"""Link the user's checkpoints into a study, without copying, and check them against their base.

All checkpoints of a study are asked in one way, see `asking`. Where weights are read differently
from how the user's files store them, a line says so (`Stored.notes`).
"""

import os
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from healscope import provenance
from healscope.config import adapters as adapter_files
from healscope.config import sources
from healscope.errors import HealscopeError
from healscope.models import against_base, asking, hub, integrity, pickled
from healscope.models.rows import note as rows_note
from healscope.models.stored import LOGITS, MANIFEST, Stored
from healscope.models.variants import Variant, load_each


def local(source: str, files: Sequence[str] = hub.FILES) -> Path:
    """Return the folder of a checkpoint; a hub id is downloaded to the hub's cache if needed."""
    if not sources.is_hub_id(source):
        return sources.folder(source)
    return hub.folder(*sources.hub_id(source), files)


def take(
    name: str,
    source: str,
    beside: str,
    manifest: str | Path,
    base: str | None = None,
    end: str | None = None,
    pickles: bool = False,
) -> None:
    """Link a checkpoint's files to the folder of `manifest`, then write the manifest.

    `beside`: for the base, the source of the last SFT checkpoint, which may bring the tokenizer;
    for all others, the manifest of the base, which has it. `base`: the manifest of the checkpoint
    that an adapter is on, if not the base. `end`: the token that ends answers, if it is not the
    tokenizer's. `pickles`: whether `.bin` files may be converted.

    Raises HealscopeError where it is no model that a study can take, or another architecture or
    vocabulary than the base's, or if the merged weights of an adapter say something else than PEFT.
    """
    place, target = local(source), Path(manifest).parent
    if place.resolve() == target.resolve():
        raise HealscopeError(f"{name}: {source} is where it would be linked to; rename the model")
    _check(name, place, pickles)
    given, staged = place, target.with_name(f"{target.name}.converted")
    if pickles and sources.pickled(place) and not sources.weight_files(place):
        shutil.rmtree(staged, ignore_errors=True)
        place = pickled.converted(name, place, staged)
    under = None
    if beside.endswith(MANIFEST):
        asked_by = Path(beside).parent
        under = Path(base or beside).parent if sources.is_adapter(place) else None
        weights = _weights(name, place, under)
        first = Stored(asked_by)
        against_base.refuse_another_model(name, weights, first)
        rows = first.vocabulary
        ends = [asked_by / asking.END]  # the base has it, if any of the two does
    else:
        weights = _weights(name, place)
        asked_by, rows = _asked_by(name, place, weights, beside)
        ends = [asked_by / asking.END, place / asking.END]
    _same_tokens(name, place, asked_by)
    own = [Path(p) for p in sources.files(str(place))]
    own = [p for p in own if p.name not in (*asking.TOKENIZER, asking.END)]
    if under is not None:
        own = [p for p in own if p.name in (adapter_files.CONFIG, adapter_files.WEIGHTS)]
        own.append(weights.config)
    reading = {}
    if under is not None:
        reading["base"] = os.path.relpath(under, target)
    if weights.vocabulary not in (None, rows):
        reading["rows"] = rows
        weights.notes = (*weights.notes, rows_note(weights.vocabulary, rows))
        own = [p for p in own if p.name != LOGITS]  # it speaks of other rows
    tokens = [asked_by / file for file in asking.TOKENIZER if (asked_by / file).is_file()]
    linked = [*own, *tokens, *[f for f in ends if f.is_file()][:1]]
    for file in linked:
        if file.suffix == ".json":
            against_base.read_json(name, file)
    try:
        named = [
            against_base.read_json(name, f).get("eos_token_id")
            for f in [*ends, weights.config]
            if f.is_file()
        ]
        changed, notes = asking.changes(asked_by, rows or 0, end, named)
    except (HealscopeError, ValueError) as error:
        raise HealscopeError(f"{name}: {error}") from None
    if unread := sources.not_of_the_model(place):
        notes.append(
            f"{place} also holds {unread[0].name}, which is not read: as in transformers, "
            f"{next(iter(weights.files.values())).name} goes first"
        )
    for note in (*weights.notes, *notes):
        print(f"healscope: {name}: {note}", file=sys.stderr)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    files = [p for p in linked if p.name not in asking.rewritten(changed)]
    for file in files:
        _link(file, target / file.name)
    made = asking.write_changed(asked_by, target, changed) if changed else []
    if under is not None:
        _record_logits(Stored(target, under.resolve()))
        if "rows" in reading:
            (target / LOGITS).unlink()  # it speaks of other rows
        else:
            made.append(target / LOGITS)
    _write_manifest([*files, *made], source, given, under, reading, Path(manifest))
    shutil.rmtree(staged, ignore_errors=True)


def refuse_unfit(named: Mapping[str, str]) -> None:
    """Refuse what `take` would refuse later, of models on this machine: by config.json and the
    headers of their weights. `named`: checkpoint -> source, with `base` among them."""
    base = None
    for name, source in named.items():
        place = sources.folder(source)
        if sources.is_adapter(place) or not sources.weight_files(place):
            continue  # `own_checkpoints.bases` has looked at it; it is at the hub, or a pickle
        weights = _weights(name, place)
        if name == "base":
            base = weights
        elif base:
            against_base.refuse_another_model(f"{name} ({source})", weights, base)


def _check(name: str, place: Path, pickles: bool) -> None:
    try:
        sources.check(str(place), pickles)
    except ValueError as error:
        raise HealscopeError(f"{name} ({place}): {error}") from None


def _weights(name: str, place: Path, under: Path | None = None) -> Stored:
    """Open a checkpoint, an adapter on the base in `under`; refuse what cannot be compared."""
    weights = Stored(place, under and under.resolve())
    about = against_base.read_json(name, weights.config)
    if about.get("quantization_config"):
        raise HealscopeError(
            f"{name} ({place}) is quantised; give the weights as they were before (or dequantise "
            "and save them in bfloat16)"
        )
    if any(".experts." in tensor for tensor in weights):
        raise HealscopeError(
            f"{name} ({place}) is a mixture of experts, whose matrices are not compared or edited; "
            "give a dense model"
        )
    against_base.refuse_unknown_code(f"{name} ({place})", about)
    integrity.refuse_untied(f"{name} ({place})", weights)
    return weights


def _asked_by(name: str, place: Path, weights: Stored, last: str) -> tuple[Path, int | None]:
    """Return the folder whose tokenizer asks a study, and the rows of all its embeddings.

    These are the fewest, of the base's and those of the last SFT checkpoint, `last`, that the
    tokenizer needs: so what one of the two has only for padding is left out.
    """
    of_last = local(last, [*asking.TOKENIZER, "config.json", "adapter_*"])
    asked_by = of_last if (of_last / asking.TOKENIZER[0]).is_file() else place
    if not (asked_by / asking.TOKENIZER[0]).is_file():
        raise HealscopeError(
            f"neither {asked_by} nor the last SFT checkpoint holds a {asking.TOKENIZER[0]}; save "
            "one there: AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER)"
        )
    ids, own = asking.needed(asked_by), weights.vocabulary
    if own is None:
        return asked_by, None
    rows = sorted({own, _rows_of(name, of_last) or own})
    enough = [n for n in rows if n > max(ids.values())]
    if not enough:
        beyond = [token for token, i in ids.items() if i >= rows[-1]]
        raise HealscopeError(
            f"{name} has {own} embeddings, and the tokenizer of the study ({asked_by}) knows "
            f"{len(beyond)} tokens beyond them (as {beyond[0]!r}), for which the last SFT "
            "checkpoint has none either: take them out of that tokenizer, or give that checkpoint "
            "rows for them (resize_token_embeddings, then save_pretrained)"
        )
    return asked_by, enough[0]


def _rows_of(name: str, place: Path) -> int | None:
    """Return the rows of a checkpoint's embeddings from small files alone; None if these lack
    it."""
    if sources.is_adapter(place):
        known = (place / adapter_files.WEIGHTS).is_file()  # of a pickle nothing is known yet
        return adapter_files.rows(adapter_files.shapes(place)) if known else None
    if not (place / "config.json").is_file():
        return None
    about = against_base.read_json(name, place / "config.json")
    return (about.get("text_config") or about).get("vocab_size")


def _same_tokens(name: str, place: Path, asked_by: Path) -> None:
    """Refuse a vocabulary in which a token has another id; say where one lacks tokens."""
    if not (place / asking.TOKENIZER[0]).is_file():
        return
    ids, own = asking.vocabulary(asked_by), asking.vocabulary(place)
    if moved := sorted(token for token in set(own) & set(ids) if own[token] != ids[token]):
        token = moved[0]
        raise HealscopeError(
            f"{name}: its tokenizer and that of the study ({asked_by}) give {len(moved)} tokens "
            f"other ids (as {token!r}: {own[token]} and {ids[token]}): they are not one family"
        )
    if lacking := sorted(set(ids) - set(own)):
        print(
            f"healscope: the tokenizer of {name} lacks {len(lacking)} tokens that the study's has "
            f"(as {lacking[0]!r}); it is asked by the study's, as all are",
            file=sys.stderr,
        )


def _record_logits(adapter: Stored) -> None:
    """Write the logits of PEFT's own forward pass for a stored prompt into an adapter's folder,
    base and adapter apart, and check that the merged weights give the same.

    Raises HealscopeError beyond the limits of `integrity`, which also checks it whenever the merged
    model is loaded.
    """
    from peft import PeftModel

    place = adapter.folder
    model = integrity.load(str(adapter.base.folder))
    if adapter.vocabulary != adapter.base.vocabulary:
        model.resize_token_embeddings(adapter.vocabulary, mean_resizing=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = PeftModel.from_pretrained(model, str(place)).eval()
        integrity.record_logits(place, wrapped)
        model = wrapped.unload()
    for _ in load_each(model, [Variant(str(place), adapter.items, whole=True)], {}):
        integrity.check_logits(place, model)


def _write_manifest(
    files: list[Path],
    source: str,
    place: Path,
    under: Path | None,
    reading: dict,
    manifest: Path,
) -> None:
    """Write the manifest of linked files: their hashes, where they are from, how they are read."""
    listed = {
        file.name: {"bytes": file.stat().st_size, "sha256": provenance.sha256(file)}
        for file in sorted(files, key=lambda p: p.name)
    }
    config = {"source": source}
    if sources.is_hub_id(source):
        config["commit"] = place.name  # snapshots are called by it
    hashes = {name: about["sha256"] for name, about in listed.items()}
    if under is not None:
        hashes["base"] = provenance.sha256(under / MANIFEST)
    record = provenance.record(config, inputs=hashes)
    how = {"reading": reading} if reading else {}
    provenance.write_json(manifest, {"files": listed, **how, "provenance": record})


def _link(file: Path, link: Path) -> None:
    """Make a hard link if possible, as it survives a moved folder; else a symbolic one."""
    real = file.resolve()  # the hub's cache holds links itself
    try:
        os.link(real, link)
    except OSError:  # another file system, or another owner
        link.symlink_to(real)
