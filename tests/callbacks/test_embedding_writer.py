import numpy as np
from tiny_run import digits, tiny_module, trainer, unlabelled

from dim_lightning.callbacks import EmbeddingWriter
from dim_lightning.evaluation import extract


def predict(folder, module, data):
    run = trainer(folder, [EmbeddingWriter()])
    run.predict(module, data, return_predictions=False)
    return np.load(folder / "embeddings.npz", allow_pickle=False)


def test_the_file_holds_the_codes_of_the_predicted_images(tmp_path, digits_root):
    module, data = tiny_module(), digits(digits_root)
    found = predict(tmp_path, module, data)
    seen = extract(module.encoder, data.predict_dataloader())
    assert found["embedding"].dtype == np.float32
    np.testing.assert_allclose(found["embedding"], seen.code, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["label"], seen.labels)
    np.testing.assert_array_equal(found["index"], seen.indices)
    assert found["class_names"].tolist() == data.class_names


def test_unlabelled_codes_have_no_class_names(tmp_path):
    found = predict(tmp_path, tiny_module(), unlabelled(tmp_path))
    assert set(found["label"].tolist()) == {-1}
    assert found["class_names"].tolist() == []


def test_nothing_else_is_left_in_the_folder(tmp_path, digits_root):
    predict(tmp_path, tiny_module(), digits(digits_root))
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.npz"]
