"""Extensions: folders with code of their own, found, tried and loaded so that none of them can keep the program from starting."""
