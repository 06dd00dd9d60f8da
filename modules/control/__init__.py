"""Pictures that control other pictures: preprocessors, and the networks that follow what they make, as patches that are taken off again."""
