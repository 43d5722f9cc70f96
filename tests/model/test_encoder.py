"""Encoders from the package, from directories and, where one may ask it, from a hub."""

import json
import shutil
import socket
import time

import huggingface_hub
import pytest
import torch
import transformers
from transformers import BertModel, PreTrainedTokenizerBase
from transformers.utils import logging

import mtl_bert.model.encoder
from mtl_bert.model import ModelError, Pretrained, Tiny
from mtl_bert.utils.hub import HubError
from tests.factories import TINY, assert_tells


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with an encoder in half precision and its tokenizer."""
    place = tmp_path_factory.mktemp("models") / "saved"
    torch.manual_seed(0)
    TINY.encoder().half().save_pretrained(place)
    TINY.tokenizer().save_pretrained(place)
    return place


@pytest.fixture
def copy(saved, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(saved, tmp_path / "copy")


@pytest.fixture
def online(monkeypatch, tmp_path):
    """The hub's library may use a network, and finds that nobody is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def weights(encoder):
    return dict(encoder.state_dict())


def assert_equal_weights(a, b):
    assert weights(a).keys() == weights(b).keys()
    assert all(torch.equal(weights(a)[name], weights(b)[name]) for name in weights(a))


class TestTiny:
    def test_the_encoder_fits_the_tokenizer(self):
        tokenizer, encoder = TINY.tokenizer(), TINY.encoder()
        assert encoder.config.vocab_size == len(tokenizer)
        assert tokenizer.model_max_length == encoder.config.max_position_embeddings == 32
        assert encoder.config.hidden_size == 16
        assert tokenizer.pad_token_id == 0
        assert "token_type_ids" in tokenizer.model_input_names

    def test_special_tokens_stand_where_bert_has_them(self):
        tokenizer = TINY.tokenizer()
        cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        (word, *_) = sorted(word for word in tokenizer.get_vocab() if word.isalpha())
        (number,) = tokenizer(word, add_special_tokens=False)["input_ids"]
        assert tokenizer(word, word)["input_ids"] == [cls, number, sep, number, sep]
        assert tokenizer(word.upper())["input_ids"] == [cls, number, sep]

    def test_weights_come_from_torchs_generator(self):
        encoders = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            encoders.append(TINY.encoder())
        assert_equal_weights(encoders[0], encoders[1])
        name = "embeddings.word_embeddings.weight"
        assert not torch.equal(weights(encoders[0])[name], weights(encoders[2])[name])

    def test_settings_that_bert_does_not_have(self):
        with pytest.raises(ModelError) as raised:
            Tiny({"hiden_size": 16}).encoder()
        assert_tells(raised.value, "hiden_size")


class TestDirectory:
    def test_a_half_precision_checkpoint_comes_back_in_single(self, saved):
        torch.manual_seed(0)
        original = TINY.encoder()
        encoder = Pretrained(str(saved), local=True).encoder()
        assert isinstance(encoder, BertModel)
        assert {p.dtype for p in encoder.parameters()} == {torch.float32}
        for name, parameter in encoder.named_parameters():
            assert torch.equal(parameter, original.get_parameter(name).half().float()), name

    def test_reading_weights_from_disk_draws_no_bar(self, saved, capfd):
        shown = logging.is_progress_bar_enabled()
        Pretrained(str(saved), local=True).encoder()
        assert "Loading weights" not in capfd.readouterr().err
        assert logging.is_progress_bar_enabled() == shown

    def test_the_tokenizer_is_the_one_beside_it(self, saved):
        tokenizer = Pretrained(str(saved), local=True).tokenizer()
        original = TINY.tokenizer()
        assert isinstance(tokenizer, PreTrainedTokenizerBase)
        assert tokenizer.get_vocab() == original.get_vocab()
        assert tokenizer.model_max_length == 32
        text = " ".join(sorted(original.get_vocab())[-5:])
        assert tokenizer(text, text)["input_ids"] == original(text, text)["input_ids"]

    def test_its_name_is_the_directorys(self, saved):
        assert Pretrained(str(saved), local=True).name == "saved"
        changed = Pretrained(str(saved), local=True, settings={"num_hidden_layers": 1})
        assert changed.name == "saved (num_hidden_layers=1)"
        assert Pretrained("somebody/some-bert").name == "some-bert"

    @pytest.mark.usefixtures("online")
    @pytest.mark.parametrize("local", [True, False])
    def test_no_network_is_used(self, saved, local, monkeypatch):
        def refuse(*_, **__):
            pytest.fail("the network was used")

        monkeypatch.setattr(mtl_bert.model.encoder, "require_hub", refuse)
        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        source = Pretrained(str(saved), local=local)
        assert len(source.tokenizer()) == len(TINY.tokenizer())
        assert source.encoder().config.hidden_size == TINY.encoder().config.hidden_size

    def test_a_pooler_that_is_not_in_it_is_not_made_up(self, tmp_path):
        """A language model's checkpoint has no pooler; transformers would make a random one."""
        BertModel(TINY.encoder().config, add_pooling_layer=False).save_pretrained(tmp_path)
        encoders = []
        for seed in (3, 4):
            torch.manual_seed(seed)
            encoders.append(Pretrained(str(tmp_path), local=True).encoder())
        assert encoders[0].pooler is None
        assert_equal_weights(encoders[0], encoders[1])

    def test_settings_change_the_encoders_own(self, saved):
        settings = {"hidden_dropout_prob": 0.3}
        encoder = Pretrained(str(saved), local=True, settings=settings).encoder()
        assert encoder.embeddings.dropout.p == 0.3

    def test_settings_that_the_encoder_does_not_have(self, saved):
        with pytest.raises(ModelError) as raised:
            Pretrained(str(saved), local=True, settings={"hiden_dropout": 0.3}).encoder()
        assert_tells(raised.value, "hiden_dropout", "BertConfig")

    def test_a_directory_without_a_configuration(self, tmp_path):
        for path in (str(tmp_path), str(tmp_path / "nowhere"), None):
            with pytest.raises(ModelError) as raised:
                Pretrained(path, local=True)
            assert_tells(raised.value, "model.path=DIR", str(path) if path else "nothing")

    @pytest.mark.parametrize("content", ["", '{"model_type": ', "[]", "{}", '{"model_type": "x"}'])
    def test_a_broken_configuration(self, copy, content):
        (copy / "config.json").write_text(content)
        with pytest.raises(ModelError) as raised:
            Pretrained(str(copy), local=True).encoder()
        assert_tells(raised.value, str(copy), "does not load")

    @pytest.mark.parametrize("kept", [0, 4, 1000, -100])
    def test_cut_weights(self, copy, kept):
        file = copy / "model.safetensors"
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(ModelError) as raised:
            Pretrained(str(copy), local=True).encoder()
        assert_tells(raised.value, str(copy), "does not load")

    def test_no_weights(self, copy):
        (copy / "model.safetensors").unlink()
        with pytest.raises(ModelError) as raised:
            Pretrained(str(copy), local=True).encoder()
        assert_tells(raised.value, str(copy), "model.safetensors")

    def test_weights_of_something_else(self, copy):
        (copy / "model.safetensors").unlink()
        torch.save({"something": torch.zeros(2)}, copy / "pytorch_model.bin")
        with pytest.raises(ModelError) as raised:
            Pretrained(str(copy), local=True).encoder()
        assert_tells(raised.value, str(copy), "weights")

    def test_weights_of_another_size(self, copy):
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
        with pytest.raises(ModelError) as raised:
            Pretrained(str(copy), local=True).encoder()
        assert_tells(raised.value, str(copy), "does not load")

    def test_no_tokenizer(self, copy):
        """Transformers makes one up that knows no word, and says nothing."""
        for file in copy.glob("tokenizer*"):
            file.unlink()
        with pytest.raises(ModelError) as raised:
            Pretrained(str(copy), local=True).tokenizer()
        assert_tells(raised.value, str(copy), "vocabulary")

    @pytest.mark.parametrize("content", ["", "{", "{}", "junk"])
    def test_a_broken_tokenizer(self, copy, content):
        (copy / "tokenizer.json").write_text(content)
        with pytest.raises(ModelError) as raised:
            Pretrained(str(copy), local=True).tokenizer()
        assert_tells(raised.value, str(copy))


class TestHub:
    @pytest.mark.usefixtures("online")
    def test_without_a_network_the_error_comes_within_seconds(self):
        began = time.monotonic()
        for part in ("tokenizer", "encoder"):
            with pytest.raises(HubError) as raised:
                getattr(Pretrained("somebody/some-bert"), part)()
            assert_tells(raised.value, "somebody/some-bert", "no answer", "model=tiny")
        assert time.monotonic() - began < 5

    def test_a_hub_that_must_not_be_asked(self):
        with pytest.raises(HubError) as raised:
            Pretrained("somebody/some-bert").encoder()
        assert_tells(raised.value, "HF_HUB_OFFLINE", "model=tiny")

    def test_the_hub_is_asked_for_what_the_cache_lacks_alone(self, monkeypatch):
        """A download that was broken off after the tokenizer is taken up again."""
        asked, loads = [], []

        def loads_from(name, cached, result):
            def from_pretrained(path, *, local_files_only=False, **settings):
                loads.append((name, local_files_only))
                if local_files_only and not cached:
                    raise OSError("not among the cached files")
                return (
                    result if name in ("Tokenizer", "Config") else (result, {"missing_keys": set()})
                )

            kind = getattr(transformers, f"Auto{name}")
            monkeypatch.setattr(kind, "from_pretrained", from_pretrained)

        encoder = TINY.encoder()
        loads_from("Tokenizer", True, TINY.tokenizer())
        loads_from("Config", True, encoder.config)
        loads_from("ModelForTextEncoding", False, encoder)
        module = mtl_bert.model.encoder
        monkeypatch.setattr(module, "require_hub", lambda what, instead: asked.append(what))
        source = Pretrained("somebody/some-bert")
        source.tokenizer()
        assert asked == []
        assert source.encoder() is encoder
        assert asked == ["model somebody/some-bert"]
        assert loads[:2] == [("Tokenizer", True), ("Config", True)]
        assert loads[2:] == [("ModelForTextEncoding", True), ("ModelForTextEncoding", False)]


EVIL = """
import pathlib
pathlib.Path({canary!r}).touch()
from transformers import BertConfig as Config, BertModel as Model, BertTokenizer as Tokenizer
"""


@pytest.mark.parametrize("part", ["tokenizer", "encoder"])
def test_an_encoders_own_code_is_never_run_whatever_somebody_answers(part, tmp_path, monkeypatch):
    place, canary = tmp_path / "encoder", tmp_path / "canary"
    TINY.encoder().save_pretrained(place)
    TINY.tokenizer().save_pretrained(place)
    (place / "evil.py").write_text(EVIL.format(canary=str(canary)))
    for name in ("config.json", "tokenizer_config.json"):
        about = json.loads((place / name).read_text("utf-8"))
        about["auto_map"] = {f"Auto{kind}": f"evil.{kind}" for kind in ("Config", "Model")}
        about["auto_map"]["AutoTokenizer"] = ["evil.Tokenizer", None]
        about |= {"model_type": "stranger", "tokenizer_class": "StrangerTokenizer"}
        (place / name).write_text(json.dumps(about), "utf-8")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError) as error:
        getattr(Pretrained(str(place), local=True), part)()
    assert_tells(error.value, str(place))
    assert not canary.exists()


def test_attention_from_the_hub_is_code_from_the_hub(tmp_path):
    TINY.encoder().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as error:
        Pretrained(str(tmp_path), True, {"_attn_implementation": "somebody/kernel"}).encoder()
    assert_tells(error.value, "its attention is code")
