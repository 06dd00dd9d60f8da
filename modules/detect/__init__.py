"""Finds things in pictures: faces, hands, people, and what YOLO files know. Networks run through OpenVINO, on the CPU."""
